"""Every Python snippet of the README and the docs runs, top to bottom, in a folder of its own."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
WITH_SNIPPETS = [p for p in PAGES if p.exists() and "```python" in p.read_text()]


def snippets(page: pathlib.Path) -> list[tuple[int, str]]:
    """The Python blocks of a page, each with the line that it starts at."""
    text = page.read_text()
    return [
        (text.count("\n", 0, match.start(1)), match.group(1))
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=lambda p: p.name)
def test_snippets_of_a_page_run_in_order(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "snippets.py"
    lines: list[str] = []
    for start, source in snippets(page):  # at the lines of the page, so that errors point there
        lines += [""] * (start - len(lines)) + source.splitlines()
    script.write_text("\n".join(lines))
    command = [sys.executable, "-W", "error", str(script)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{page.name}: {result.stderr}"


def test_readme_shows_the_two_commands_in_its_first_screen() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:24]
    assert any("make demo" in line for line in first_screen)
    assert any("make test" in line for line in first_screen)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
