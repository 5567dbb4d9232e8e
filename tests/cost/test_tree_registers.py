"""Registers in adder trees: throughput against their number, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.api.peak import peak_sweep
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.cost.crossbar import cell_read_fj, price_crossbar
from cimsim.cost.peak import peak
from cimsim.cost.tree_registers import pipelined_ps, register_bits
from cimsim.cost.without_effect import knobs_without_effect
from cimsim.errors import CimsimError


def chip(ranks: int, *knobs: str) -> ChipConfig:
    """Return a macro of 32 rows at once, 8-bit weights, reads of 5 ns: trees of five levels."""
    registers = (f"cost.tree_registers={ranks}", "cost.register_ns=0.1")
    return load_chip(find_chip("sram_digital_28nm"), ("chip.tiles=1", *registers, *knobs))


@pytest.mark.parametrize(
    ("ranks", "ps", "bits"),
    [
        (0, 5000, 0),
        # Cut after two of five levels: 32 / 4 sums of 10 bits; the longer part has three.
        (1, 3100, 8 * 10),
        # After levels 1 and 3: 16 sums of 9 bits, 4 of 11; two levels at most.
        (2, 2100, 16 * 9 + 4 * 11),
        (4, 1100, 16 * 9 + 8 * 10 + 4 * 11 + 2 * 12),
    ],
)
def test_a_read_takes_its_longest_section(ranks: int, ps: int, bits: int) -> None:
    config = chip(ranks)
    assert pipelined_ps(config, 5000) == ps
    assert register_bits(config) == bits
    # Bit-parallel: a tree for each of eight input bits; with Booth recoding for two.
    assert register_bits(chip(ranks, "tile.dac.bits=8")) == 8 * bits
    if ranks == 1:
        booth = chip(1, "tile.dac.bits=8", "cost.booth=true")
        assert register_bits(booth) == 4 * 8 * 11


def test_throughput_follows_and_the_first_result_comes_later() -> None:
    plain, cut = peak(chip(0)), peak(chip(2))
    assert cut.tops / plain.tops == pytest.approx(5000 / 2100)
    reads = plain.timing.interval_ps // 5000
    assert cut.timing.interval_ps == reads * 2100
    assert cut.timing.fill_ps == plain.timing.fill_ps + 2 * 2100


def test_registers_are_charged_in_energy_and_area() -> None:
    plain, cut = chip(0), chip(2)
    # 2.1 fF a register at 0.9 V and half of the inputs on, over 32 rows; 6 NAND2 of area.
    more = cell_read_fj(cut, 0.5, 0.5) - cell_read_fj(plain, 0.5, 0.5)
    assert more == pytest.approx(188 * 2.1 * 0.81 * 0.5 / 32)
    area = price_crossbar(cut).area_um2 - price_crossbar(plain).area_um2
    assert area == pytest.approx(256 // 8 * 188 * 6 * 0.614)


def test_more_registers_are_faster_until_registers_take_the_time() -> None:
    found = peak_sweep(
        "sram_digital_28nm",
        "cost.tree_registers",
        ["0", "1", "2", "4", "5"],
        overrides=["chip.tiles=1", "cost.register_ns=0.1"],
    ).reports
    tops = [r["tops"] for r in found]
    assert tops == sorted(tops)
    assert tops[-1] == tops[-2]  # every level has its own already
    per_watt = [r["tops_per_w"] for r in found]
    assert per_watt[1] > per_watt[-1]


def test_a_published_stage_time_wins_over_registers() -> None:
    published = "cost.stage_interval_ns=4"
    assert peak(chip(2, published)).tops == peak(chip(0, published)).tops


def test_too_many_ranks_and_a_missing_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"cost\.tree_registers.*found 6.*at most 5 with 32 rows"):
        peak(chip(6))
    file = tmp_path / "chip.yaml"
    file.write_text("extends: sram_digital_28nm\ncost: {tree_registers: 2}\n")
    with pytest.raises(CimsimError, match=r"chip\.yaml:2.*needs register_ns"):
        load_chip(file)


def test_registers_of_analog_crossbars_are_named_without_effect() -> None:
    knobs = ("cost.tree_registers=2", "cost.register_ns=0.1")
    said = knobs_without_effect(load_chip(find_chip("isaac"), knobs))
    assert any("cost.tree_registers has no effect" in s for s in said)
    alone = load_chip(find_chip("sram_digital_28nm"), knobs[1:])
    assert any("cost.register_ns has no effect" in s for s in knobs_without_effect(alone))


def test_a_register_slows_with_the_supply() -> None:
    low = chip(2, "technology.vdd_v=0.7", "technology.typed_at_vdd_v=0.9")
    assert (low.cost.register_ns or 0) > 0.1
