"""Peak figures of a run: its own tiles at its own bits, and the published chip beside them."""

from __future__ import annotations

import pytest
from conftest import Runner


def test_published_chip_stands_beside_the_chip_as_run(run_tiny: Runner) -> None:
    result = run_tiny("isaac")
    run, paper = result.peak
    assert (run["form"], paper["form"]) == ("as run", "as published")
    assert (run["weight_bits"], paper["weight_bits"]) == (8, 16)
    assert (run["tiles"], paper["tiles"]) == (result.row["tiles"], 168)
    assert run["peak_area_mm2"] == pytest.approx(result.row["area_mm2"])
    assert paper["peak_tops"] == pytest.approx(41.288, rel=1e-3)
    assert paper["peak_off_chip_w"] == pytest.approx(10.4)
    assert "noc_link" in str(paper["excluded"])
    # Table I's powers do not depend on the data; the chip as run reads what it measured.
    assert (paper["input_bit_density"], paper["density_origin"]) == (None, "none")
    assert run["density_origin"] == "measured"
    assert 0 < float(run["input_bit_density"]) < 1
    # 12 x 8 crossbars of 128 x 128 cells, 4 cells per weight, 8 cycles of 100 ns.
    macs = run["tiles"] * 96 * 128 * 128 / 4
    assert run["peak_tops"] == pytest.approx(2 * macs / 800e3)
    for row in result.peak:
        parts = float(row["peak_tops"]) / float(row["peak_total_w"])
        assert parts == pytest.approx(row["peak_tops_per_w"])


@pytest.mark.parametrize("chip", ["pcm_14nm", "raella"])
def test_chip_without_a_checked_published_form_has_its_own_peak_alone(
    chip: str, run_tiny: Runner
) -> None:
    (row,) = run_tiny(chip).peak
    assert row["form"] == "as run"
