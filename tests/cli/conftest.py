"""Running the command line as users do: a process of its own, not on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import SMALL

Cimsim = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """Return this environment with a terminal 80 columns wide."""
    return {**os.environ, "COLUMNS": "80", **more}


def small_run(model: Path) -> tuple[str, ...]:
    """Return the options of a run that takes a second: tiny model, tiny workload."""
    sets = [option for knob in SMALL for option in ("--set", knob)]
    return ("--model", str(model), *sets)


@pytest.fixture
def cimsim(tmp_path: Path) -> Cimsim:
    """Return a function that runs `python -m cimsim ARGS` in an empty folder."""

    def run(
        *arguments: str | Path, module: str = "cimsim", timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
