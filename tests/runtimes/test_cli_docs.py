"""The snippets of docs/command-line.md run, in order, shell and Python, on the files that the page itself makes."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import sys

import pytest

from runtimes.cli import app, main

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "command-line.md"
TEXT = PAGE.read_text()


def test_the_snippets_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert [language for language, _ in blocks] == ["python", "sh", "sh", "sh", "sh", "py", "sh", "sh"]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, source in blocks:
        if language != "sh":
            exec(compile(source, os.fspath(PAGE), "exec"), names)
            continue
        for line in source.splitlines():
            monkeypatch.setattr(sys, "argv", shlex.split(line))
            with pytest.raises(SystemExit) as status:
                main()
            found = capsys.readouterr()
            assert (status.value.code or 0, found.err) == (0, ""), line
            assert found.out


@pytest.mark.parametrize("name", [c.callback.__name__ for c in app.registered_commands if c.callback])
def test_every_command_is_on_the_page(name):
    assert f"\n## {name}\n" in TEXT or name == "demo"
