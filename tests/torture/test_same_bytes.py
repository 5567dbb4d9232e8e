"""One run in many surroundings: every file but the manifest has the same bytes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tiny_model import SMALL

from tests.run_files import files_of
from tests.torture.killed import CHIPS, small_run

# What is changed, and how: variables of the environment, and words of the command.
SURROUNDINGS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "jobs": ({}, ("--jobs", "3")),
    "threads": ({}, ("--threads", "2")),
    "locale": ({"LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8"}, ()),
    "time zone": ({"TZ": "Pacific/Chatham"}, ()),
    "hash seed": ({"PYTHONHASHSEED": "12345"}, ()),
    "BLAS kernel": ({"OPENBLAS_CORETYPE": "Nehalem"}, ()),
    "BLAS threads": ({"OPENBLAS_NUM_THREADS": "2"}, ()),
    "columns of the terminal": ({"COLUMNS": "40"}, ()),
}


def run(words: list[str], cwd: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("plain")
    run(small_run(folder / "run", tiny_model, SMALL, 1), folder, {})
    found = files_of(folder / "run")
    assert len(found) >= 40
    return found


@pytest.mark.full
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings_change_no_byte(
    name: str, tmp_path: Path, tiny_model: Path, plain: dict[str, bytes]
) -> None:
    environment, options = SURROUNDINGS[name]
    folder = tmp_path / f"another folder for {name}" / "run"
    run([*small_run(folder, tiny_model, SMALL, 1), *options], tmp_path, environment)
    assert files_of(folder) == plain


@pytest.mark.full
def test_order_and_company_of_chips_change_nothing_of_a_chip(
    tmp_path: Path, tiny_model: Path, plain: dict[str, bytes]
) -> None:
    words = small_run(tmp_path / "run", tiny_model, SMALL, 2)
    at = words.index(CHIPS[0])
    words[at : at + len(CHIPS)] = CHIPS[1:][::-1]
    run(words, tmp_path, {})
    own = {n: d for n, d in files_of(tmp_path / "run").items() if n.startswith("chips/")}
    assert own == {n: d for n, d in plain.items() if n.split("/")[:2] in _folders(CHIPS[1:])}


def _folders(chips: tuple[str, ...]) -> list[list[str]]:
    return [["chips", chip] for chip in chips]
