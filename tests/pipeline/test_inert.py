"""What is said to have no effect has none, and the run says so."""

from __future__ import annotations

import os

import pytest
from conftest import Runner
from signature import outcome_of

CASES = [
    ("isaac", "tile.pe.subtract=digital"),
    ("sram_digital_28nm", "tile.adc={kind: zigzag, bits: 5, noise_lsb: 1.0, per_pe: 3}"),
    ("isaac", "tile.dac.unit_ns=50.0"),
    ("isaac", "tile.crossbar.rows_active=4096"),
    ("isaac", "tile.device.read_noise.scaling=sqrt"),
    ("isaac", "tile.device.drift.t0_s=30"),
    ("isaac", "tile.device.temperature={sigma_per_c: 0.01, conductance_per_c: 0.001}"),
    ("sram_digital_28nm", "tile.pe={crossbars: 8, accumulate_cycles: true, sample_hold: single}"),
    ("sram_digital_28nm", "tile.crossbar.v_read_v=1.0"),
    ("sram_digital_28nm", "tile.crossbar.wire_ohm=1.0"),
    ("sram_digital_28nm", "tile.device.stuck_low=0.1"),
    ("sram_digital_28nm", "tile.device.on_off_ratio=3.0"),
    ("sram_digital_28nm", "run.tile_mode=folded"),
]
SAMPLE = CASES if os.environ.get("CIMSIM_FULL_TESTS") == "1" else CASES[:2]


@pytest.mark.parametrize(("chip", "override"), SAMPLE, ids=str)
def test_a_knob_said_to_have_no_effect_moves_nothing(
    chip: str, override: str, run_tiny: Runner
) -> None:
    plain, moved = run_tiny(chip, "run.chip_seeds=1"), run_tiny(chip, "run.chip_seeds=1", override)
    assert outcome_of(moved) == outcome_of(plain)
    knob = override.split("=", maxsplit=1)[0]
    assert any(knob in w and "no effect" in w for w in moved.warnings), moved.warnings
