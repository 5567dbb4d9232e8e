"""The bench of backends times both and says what it found against its target."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.bench.backends import TARGET, run_backend_bench


def test_ratios_are_those_of_paired_times(tiny_model: Path) -> None:
    found = run_backend_bench([str(tiny_model)], tokens=256, repetitions=1)
    assert found["target"] == TARGET == 1.3
    modes = found[str(tiny_model)]
    assert set(modes) == {"detailed", "folded"}
    for parts in modes.values():
        for part in ("write", "score"):
            times = parts[part]
            assert times["numba_s"] > 0.0
            # Seconds are rounded to a tenth of a millisecond.
            exact = times["torch_s"] / times["numba_s"]
            assert times["ratio"] == pytest.approx(exact, rel=0.05)
    assert found["worst ratio of scoring"] == max(p["score"]["ratio"] for p in modes.values())
