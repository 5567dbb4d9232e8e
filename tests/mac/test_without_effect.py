"""Knobs that have no effect are named; those that have one are not."""

from __future__ import annotations

import pytest

from cimsim.config.load import bundled_chips, find_chip, load_chip
from cimsim.mac import knobs_without_effect, unpaid_writes

READS = "tile.device.read_noise={sigma: 0.1, scaling: sqrt}"


def named(chip: str, *overrides: str) -> list[str]:
    """Return the knobs that are said to have no effect on a chip."""
    found = knobs_without_effect(load_chip(find_chip(chip), overrides))
    assert all(" has no effect: " in w or " has no effect on cells: " in w for w in found)
    return [warning.split(" has no effect")[0] for warning in found]


@pytest.mark.parametrize(
    ("chip", "override", "knob"),
    [
        ("isaac", "tile.pe.subtract=digital", "tile.pe.subtract"),
        ("isaac", "tile.crossbar.rows_active=4096", "tile.crossbar.rows_active"),
        ("isaac", "tile.dac.unit_ns=5.0", "tile.dac.unit_ns"),
        ("isaac", "tile.device.read_noise.scaling=sqrt", "tile.device.read_noise.scaling"),
        ("isaac", "tile.device.read_noise.sigma_unit=us", "tile.device.read_noise.sigma_unit"),
        ("isaac", "tile.device.drift.t0_s=30", "tile.device.drift.t0_s"),
        ("isaac", "tile.device.temperature.sigma_per_c=0.01",
         "tile.device.temperature.sigma_per_c"),
        ("isaac", "tile.device.temperature.conductance_per_c=0.001",
         "tile.device.temperature.conductance_per_c"),
        ("isaac", "tile.device.temperature.read_noise_per_c=0.01",
         "tile.device.temperature.read_noise_per_c"),
        ("isaac", "tile.device.verify.attempts=5", "tile.device.verify.attempts"),
        ("isaac", "technology.temperature_c=60", "technology.temperature_c"),
        ("sram_digital_28nm", "tile.adc.bits=6", "tile.adc.bits"),
        ("sram_digital_28nm", "tile.adc.range={kind: fixed, levels: 9}", "tile.adc.range"),
        ("sram_digital_28nm", "tile.adc.noise_lsb=1", "tile.adc.noise_lsb"),
        ("sram_digital_28nm", "tile.adc.kind=zigzag", "tile.adc.kind"),
        ("sram_digital_28nm", "tile.pe.subtract=digital", "tile.pe.subtract"),
        ("sram_digital_28nm", "tile.crossbar.wire_ohm=1", "tile.crossbar.wire_ohm"),
        ("sram_digital_28nm", READS, "tile.device.read_noise"),
        ("sram_digital_28nm", "tile.device.stuck_low=0.01", "tile.device.stuck_low"),
        ("sram_digital_28nm", "run.tile_mode=folded", "run.tile_mode"),
        ("sram_digital_28nm", "technology.temperature_c=60", "technology.temperature_c"),
    ],
    ids=str,
)  # fmt: skip
def test_a_knob_without_effect_is_named(chip: str, override: str, knob: str) -> None:
    before = named(chip)
    assert [k for k in named(chip, override) if k not in before] == [knob]


@pytest.mark.parametrize(
    "overrides",
    [
        ("tile.weight.encoding=differential", "tile.pe.subtract=digital"),
        ("tile.crossbar.rows_active=8",),
        (READS,),
        ("tile.device={kind: reram, temperature: {sigma_per_c: 0.01}}",
         "technology.temperature_c=60"),
        ("tile.device.drift={nu: 0.1, t0_s: 30}",),
        ("tile.dac={kind: pwm, bits: 4, unit_ns: 10}", "tile.input.signed=two_phase"),
        ("tile.adc={kind: zigzag, bits: 6, noise_lsb: 1.0}",),
    ],
    ids=str,
)  # fmt: skip
def test_a_knob_with_an_effect_is_not_named(overrides: tuple[str, ...]) -> None:
    assert named("isaac", *overrides) == []


@pytest.mark.parametrize("chip", sorted(bundled_chips()))
def test_bundled_chips_set_no_knob_in_vain(chip: str) -> None:
    assert named(chip) == []


def test_writes_that_are_not_charged_are_named() -> None:
    """One write in three is accepted at half a sigma or so: nearly three writes per cell."""
    device = "tile.device={kind: gaussian, sigma: 0.2, sigma_unit: cell_level, verify: {%s}%s}"
    tight = load_chip(find_chip("isaac"), (device % ("tolerance: 0.1, attempts: 20", ""),))
    assert "programming.pulses" in unpaid_writes(tight)[0]
    paid = device % ("tolerance: 0.1, attempts: 20", ", programming: {pulses: 3}")
    assert unpaid_writes(load_chip(find_chip("isaac"), (paid,))) == ()
    loose = device % ("tolerance: 0.6, attempts: 20", "")
    assert unpaid_writes(load_chip(find_chip("isaac"), (loose,))) == ()
    assert unpaid_writes(load_chip(find_chip("isaac"))) == ()
