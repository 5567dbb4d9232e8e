"""Little memory, few open files, more jobs than chips: a result or one sentence."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import SMALL

from tests.torture.killed import PROGRAM, faults, small_run

LIMITS = [
    pytest.param(resource.RLIMIT_AS, 2 << 30, 1, id="2 GB of addresses"),
    pytest.param(resource.RLIMIT_NOFILE, 64, 2, id="64 open files"),
    pytest.param(resource.RLIMIT_NOFILE, 4096, 64, id="64 jobs"),
]


def limited(words: list[str], limit: int, most: int) -> subprocess.CompletedProcess[str]:
    """Carry out a command under a limit of its process and of those it starts."""
    code = (
        f"import os, resource, sys; resource.setrlimit({limit}, ({most}, {most}));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [sys.executable, "-c", code, *words]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.full
@pytest.mark.parametrize(("limit", "most", "jobs"), LIMITS)
def test_a_run_ends_within_the_limits_of_its_process(
    limit: int, most: int, jobs: int, tmp_path: Path, tiny_model: Path
) -> None:
    done = limited(small_run(tmp_path / "run", tiny_model, SMALL, jobs), limit, most)
    assert done.returncode == 0, done.stderr
    assert faults(tmp_path / "run") == []


def test_too_few_addresses_are_one_sentence(tmp_path: Path) -> None:
    words = [*PROGRAM, "run", "isaac", "--tokens", "256", "--out", str(tmp_path / "run")]
    done = limited(words, resource.RLIMIT_AS, 350 << 20)
    assert done.returncode == 1
    assert done.stderr.count("\n") < 5
    assert "error: there is not enough memory for this" in done.stderr
