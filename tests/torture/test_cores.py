"""As many at once as this process may use cores, not as the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cimsim.stages.cores import usable_cores


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("?", 8)],
)
def test_cores_are_those_of_the_affinity_and_of_the_quota(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores(tmp_path) == cores
    assert usable_cores(tmp_path / "none") == 8
