"""Command lines carried out in this process: what they print and how they end, without a start.

A process of its own takes a second to import what it needs, each time. Tests of what only a
process has (signals, closed pipes, caches, the environment) start one.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

__all__ = ["run_here"]

_MAIN = {
    "cimsim": "cimsim.cli",
    "moe_mapping": "cimsim.cli.moe_mapping",
    "romer": "cimsim.cli.romer",
}


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def run_here(
    *words: str | Path, folder: Path | None = None, program: str = "cimsim"
) -> subprocess.CompletedProcess[str]:
    """Carry out a command line as `python -m PROGRAM WORDS` would in a folder."""
    main: Callable[[], None] = import_module(_MAIN[program]).main
    arguments = [str(w) for w in words]
    out, err, code = _stream(), _stream(), 0
    with (
        chdir(folder or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "argv", [program, *arguments]),
        patch.dict(os.environ, {"COLUMNS": "80"}),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    printed = [s.buffer.getvalue().decode() for s in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess([program, *arguments], code, *printed)
