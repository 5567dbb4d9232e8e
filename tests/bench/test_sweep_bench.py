"""The benches of sweeps and searches measure what they say, on small grids."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.bench.search import run_search_bench
from cimsim.errors import CimsimError
from cimsim.sweeps.executor import InThisProcess
from cimsim.workload.shapes import SHAPES
from tests.small_shape import NAME, SMALL_SHAPE
from tests.sweep.plans import Quiet, plan_from

GRID = """
sweep: 1
chips: [isaac]
accuracy: off
axes:
  tile.adc.bits: [4, 5, 6, 7, 8]
  tile.crossbar.rows: [32, 64, 128]
objectives: [tokens_per_s, area_mm2]
"""


def test_shortfalls_are_shares_of_the_whole_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    search = "search: {trials: 6, reference: {tokens_per_s: 0, area_mm2: 100}}\n"
    with InThisProcess() as executor:
        plan = plan_from(tmp_path, GRID + search)
        found = run_search_bench(plan, tmp_path / "out", executor, Quiet())
        with pytest.raises(CimsimError, match="below a reference point"):
            run_search_bench(plan_from(tmp_path, GRID), tmp_path / "out", executor, Quiet())
    assert (found["points"], found["trials"]) == (15, 6)
    for shares in found["shortfall by seed"].values():  # type: ignore[attr-defined]
        assert len(shares) == 5
        assert all(0 <= share < 1 for share in shares)
