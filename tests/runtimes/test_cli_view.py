"""`graphc view`: the picture of a model in a file."""

import pathlib
import sys

import pytest

import graphc as gc
from graphc import nn
from graphc.drawing import graphviz, layered
from runtimes.cli import main

pytestmark = pytest.mark.skipif(
    not (graphviz.is_available() or layered.is_available()), reason="neither Graphviz nor grandalf is installed"
)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    logits = nn.Sequential(nn.Linear(4), nn.ReLU(), nn.Linear(3), name="net")(gc.input("x", ("batch", 5)))
    gc.export(logits, tmp_path / "model.onnx", gc.init_state(gc.graph(logits)))
    return tmp_path / "model.onnx"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to open."""
    urls: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: urls.append(url) or True)
    return urls


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["graphc", "view", *map(str, arguments)])
    with pytest.raises(SystemExit) as status:
        main()
    return int(status.value.code or 0)


def test_view_opens_a_picture_in_the_browser(model, opened, monkeypatch, capsys) -> None:
    assert run(monkeypatch, model) == 0
    path = pathlib.Path(capsys.readouterr().out.strip())
    assert opened == [path.as_uri()]
    svg = path.read_text(encoding="utf-8")
    assert path.name == "model.svg"
    assert all(text in svg for text in ("net.0", "weight [4, 5]", "Relu", "[batch, 3]"))


def test_view_writes_where_it_is_told(model, opened, monkeypatch, tmp_path, capsys) -> None:
    assert run(monkeypatch, model, "-o", tmp_path / "p.svg", "--no-open", "--by-layer", "--dim", "batch=8") == 0
    svg = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert opened == []
    assert capsys.readouterr().out.strip() == str(tmp_path / "p.svg")
    assert "24 parameters" in svg
    assert "[8, 3]" in svg


def test_view_says_when_there_is_no_browser(model, monkeypatch, capsys) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert run(monkeypatch, model) == 0
    assert capsys.readouterr().out.strip().endswith("model.svg: open it in a browser; none could be started")


def test_errors_are_one_line(model, opened, monkeypatch, capsys) -> None:
    assert run(monkeypatch, model.with_name("none.onnx")) == 1
    assert capsys.readouterr().err.startswith("error: ")
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert run(monkeypatch, model) == 1
    assert "pip install graphc[draw]" in capsys.readouterr().err
    assert opened == []
