"""Running the command line as users do, not on a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.workload.shapes import SHAPES
from tests.command_line import run_here
from tests.small_shape import NAME, SMALL_SHAPE

Cimsim = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """Return this environment with a terminal 80 columns wide."""
    return {**os.environ, "COLUMNS": "80", **more}


def small_run(model: Path) -> tuple[str, ...]:
    """Return the options of a run that takes a second: tiny model, tiny workload."""
    sets = [option for knob in SMALL for option in ("--set", knob)]
    return ("--model", str(model), *sets)


@pytest.fixture
def cimsim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cimsim:
    """Return a function that does what `python -m cimsim ARGS` does in an empty folder.

    The full-size model of scale.csv is a small one.
    """
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    return partial(run_here, folder=tmp_path)
