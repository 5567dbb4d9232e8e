"""A chip without crossbars: the digital baseline goes through the whole pipeline and report."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.results import Row
from cimsim.session import run_plan
from cimsim.stages.plan import Request, make_plan


class Silence:
    """A listener that hears nothing."""

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Hear nothing."""

    def finished(self, name: str) -> None:
        """Hear nothing."""

    def note(self, text: str) -> None:
        """Hear nothing."""


@pytest.fixture(scope="module")
def run(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, list[Row]], Path]:
    out = tmp_path_factory.mktemp("npu") / "run"
    request = Request(
        chips=("npu_hbm",), overrides=SMALL, models=(str(tiny_model),), out=out, jobs=1, threads=1
    )
    return run_plan(make_plan(request), Silence()).tables(), out


def test_columns_of_crossbars_are_empty_with_a_reason(
    run: tuple[dict[str, list[Row]], Path],
) -> None:
    (row,) = run[0]["results"]
    for column in ("crossbar_rows", "adc_bits", "tile_load_max_over_mean", "cell_utilisation"):
        assert row[column] is None
        assert f"{column}: every matrix is digital" in str(row["empty_because"])
    assert row["device"] == "digital"
    assert row["analog_parts"] == "none"
    assert row["tiles"] == 0


def test_exact_products_have_the_perplexity_of_the_float_model(
    run: tuple[dict[str, list[Row]], Path],
) -> None:
    (row,) = run[0]["results"]
    assert row["ppl_noisy_mean"] == row["ppl_float"] == row["ppl_calibrated_mean"]


def test_no_component_of_a_tile_is_charged(run: tuple[dict[str, list[Row]], Path]) -> None:
    components = {str(r["component"]) for r in run[0]["energy"]}
    assert components.isdisjoint({"adc", "dac", "crossbar", "shift_add", "clock", "tile_buffer"})
    assert {"digital_linear", "kv_read", "dram"} <= components
    sources = " ".join(str(r["source"]) for r in run[0]["energy"])
    assert "weight memory" in sources


def test_weights_of_a_full_size_model_come_from_memory(
    run: tuple[dict[str, list[Row]], Path],
) -> None:
    rows = {(r["phase"], r["batch"]): r for r in run[0]["scale"]}
    alone, together = rows["decode", 1], rows["decode", 32]
    assert alone["tiles"] == 0
    assert alone["critical_resource"] == "memory channels"
    # 1.18e9 active weights of a byte at 7.03 pJ/bit.
    assert alone["energy_dram_nj"] == pytest.approx(1.18e9 * 8 * 7.03e-3, rel=0.05)
    # Sequences of a batch share what they read.
    assert float(together["energy_dram_nj"] or 0) < 0.25 * float(alone["energy_dram_nj"] or 0)


def test_the_report_has_no_map_of_tiles(run: tuple[dict[str, list[Row]], Path]) -> None:
    page = (run[1] / "report.md").read_text(encoding="utf-8")
    assert "npu_hbm" in page
    assert "Load of tiles" not in page
