"""Every guide is carried out as printed: notebooks in a kernel, commands and code of the others.

The full-size model is a small one.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from cimsim.workload.shapes import SHAPES
from tests.command_line import run_here
from tests.small_shape import NAME, SMALL_SHAPE

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
NOTEBOOKS = sorted(GUIDES.glob("*.ipynb"))
PAGES = sorted(GUIDES.glob("*.md"))
MOST_BYTES = 20_000
# In a process of its own, so that its event loop is not one of the tests'.
EXECUTE = (
    "import sys, nbformat; from nbclient import NotebookClient;"
    "notebook = nbformat.read(sys.argv[1], as_version=4);"
    "NotebookClient(notebook, timeout=300, kernel_name='python3').execute();"
    "nbformat.write(notebook, sys.argv[1])"
)
SMALLER = (
    "from cimsim.workload.shapes import SHAPES\n"
    "from tests.small_shape import NAME, SMALL_SHAPE\n"
    "SHAPES[NAME] = SMALL_SHAPE"
)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and content of the fenced blocks of a page."""
    return re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_six_guides_half_of_them_notebooks() -> None:
    assert len(NOTEBOOKS) == 3
    assert len(PAGES) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    assert all(not c.get("outputs") for c in notebook.cells)
    monkeypatch.setenv("CIMSIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(GUIDES.parents[1]))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SMALLER))
    nbformat.write(notebook, tmp_path / path.name)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path.name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(tmp_path / path.name, as_version=4)
    shown = [o for c in notebook.cells for o in c.get("outputs", ())]
    tables = [o for o in shown if "text/html" in o.get("data", {})]
    assert len(tables) >= 2
    said = "".join(o.get("text", "") for o in shown if o.get("name") == "stderr")
    assert "Warning" not in said


def program(words: list[str], folder: Path) -> str:
    """Carry out a command of a page and return what it prints."""
    if words[0] == "cimsim":
        done = run_here(*words[1:], folder=folder)
    else:
        assert words[0] == "python"
        done = subprocess.run(
            [sys.executable, *words[1:], "-n", "0", "-p", "no:cacheprovider"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_and_code_of_a_page_run_as_printed(
    page: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    (tmp_path / "my_model").symlink_to(tiny_model)
    (tmp_path / "mytext.txt").write_text("The tide came in before noon. " * 40)
    named = re.search(r"This file, `(\w+\.py)`", page.read_text(encoding="utf-8"))
    ran = 0
    for language, block in blocks(page):
        if language == "python" and named:
            (tmp_path / named[1]).write_text(block)
        elif language == "python":
            said = subprocess.run(
                [sys.executable, "-c", block],
                cwd=tmp_path, check=True, capture_output=True, text=True, env={**os.environ},
            ).stdout  # fmt: skip
            assert 0.5 < float(said) < 20.0
        for line in block.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            assert program(words, tmp_path), line
            ran += 1
            if "--out" in words:
                folder = tmp_path / words[words.index("--out") + 1]
                assert (folder / "report.html").is_file()
    assert ran >= 2
