"""Conversions that data ask for, charged: by hand, by what a run measured, by a stated share."""

from __future__ import annotations

from typing import Any

import pytest

from cimsim.chip import Unit, UnitKey, tile_matrix
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.cost.crossbar import cell_read_fj
from cimsim.cost.density import charged_density, density_words
from cimsim.cost.peak import peak
from cimsim.cost.timing import visit_timing
from cimsim.cost.without_effect import knobs_without_effect
from cimsim.workload.matrix import Matrix, MatrixId
from tests.cost.chips import assemble, chip

PULSED: dict[str, Any] = {
    "weight": {"bits": 8, "encoding": "differential"},
    "input": {"bits": 8, "signed": "two_phase"},
    "dac": {"kind": "pwm", "bits": 4, "unit_ns": 1.0},
    "adc": {"kind": "isaac", "bits": 7, "range": {"kind": "fixed", "levels": 63}},
    "crossbar": {"rows": 128, "cols": 128, "read_ns": 100},
}


def pulsed(*, again: int | None = None, skip: bool = False, **sections: Any) -> ChipConfig:
    """Two cycles of a sign, 4 and 3 bits; one bit at a time they take 7 recovery cycles."""
    dac = PULSED["dac"] | ({} if again is None else {"recovery_bits": again})
    tile = PULSED | {"dac": dac, "input": PULSED["input"] | {"skip_zeros": skip}}
    return chip(chip={"tiles": 4}, tile=tile, **sections)


def charged(config: ChipConfig, density: Density | None) -> tuple[Ledger, Unit]:
    """The energy of one vector of one unit."""
    cost, _, units = assemble(config)
    ledger = Ledger()
    counts = ActionCounts("decode", 1, 1000, {units[0].key: 1})
    cost.charge(ledger, counts, None if density is None else {units[0].key: density})
    return ledger, units[0]


def count(ledger: Ledger, component: str) -> float:
    return sum(row.count for row in ledger if row.component == component)


def asked(unit: Unit) -> int:
    return sum(t.conversions_per_vector for t in unit.tilings)


def test_converters_are_charged_for_what_was_measured() -> None:
    """A tenth of 14 recovery cycles beside 4 cycles: 1 + 0.1 x 14 / 4 = 1.35 of each column."""
    measured = Density(0.2, 0.3, recovered_share=0.1, recovery_bit_density=0.25)
    ledger, unit = charged(pulsed(again=1), measured)
    for component in ("adc", "sample_hold", "shift_add"):
        assert count(ledger, component) == pytest.approx(1.35 * asked(unit))
    plain, _ = charged(pulsed(), Density(0.2, 0.3))
    assert count(plain, "adc") == asked(unit)


def test_cells_and_drivers_of_recovery_cycles_are_charged_at_their_pulses() -> None:
    measured = Density(0.2, 0.3, recovered_share=0.1, recovery_bit_density=0.25)
    ledger, _ = charged(pulsed(again=1), measured)
    plain, _ = charged(pulsed(), Density(0.2, 0.3))
    once, again = (r for r in ledger if r.component == "crossbar")
    (only,) = (r for r in plain if r.component == "crossbar")
    assert (once.count, once.energy_fj) == (only.count, only.energy_fj)
    assert again.count == pytest.approx(only.count * 14 / 4)
    narrow = chip(tile=PULSED | {"dac": PULSED["dac"] | {"bits": 1}})
    assert again.energy_fj_per_action == pytest.approx(cell_read_fj(narrow, 0.25, 0.3))
    # One pulse of 1 ns where a full code takes 15: at the densities 0.25 and 0.2.
    assert again.energy_fj_per_action == pytest.approx(only.energy_fj_per_action / 15 * 0.25 / 0.2)
    assert "recovery cycles" in again.source
    drives = [r.count for r in ledger if r.component == "dac"]
    assert drives[1] == pytest.approx(drives[0] * 14 / 4)


def test_skipped_reads_are_not_converted() -> None:
    ledger, unit = charged(pulsed(skip=True), Density(0.2, 0.3, skipped_share=0.25))
    assert count(ledger, "adc") == pytest.approx(0.75 * asked(unit))
    none, _ = charged(pulsed(skip=True), None)
    assert count(none, "adc") == asked(unit)


def test_bit_lines_of_skipped_reads_are_not_held() -> None:
    held = PULSED["crossbar"] | {"sense": {"kind": "clamp"}}
    config = pulsed(skip=True, again=1)
    tile = config.tile.model_dump() | {"crossbar": held}
    config = chip(tile=tile)
    every, _ = charged(config, Density(0.2, 0.3))
    some, _ = charged(config, Density(0.2, 0.3, skipped_share=0.25))
    assert count(some, "bit_line") == pytest.approx(0.75 * count(every, "bit_line"))
    first, second = (r.count for r in every if r.component == "bit_line")
    assert second == pytest.approx(first * 14 / 4)


def test_recovery_cycles_always_take_their_time() -> None:
    """18 cycles instead of 4: a read of 115 ns hides 128 conversions at 1.28 GS/s a crossbar."""
    matrix = Matrix(MatrixId(0, "up", 0), 128, 16)
    for again, cycles in ((None, 4), (1, 18), (2, 12)):
        config = pulsed(again=again)
        one = Unit(UnitKey(0, "experts", 0), (tile_matrix(matrix, config.tile),))
        assert visit_timing(config, one).interval_ps == cycles * 115_000


def test_without_a_run_shares_are_those_stated() -> None:
    """RAELLA: 0.42 of 8 conversions a column, 3 of them speculative: (3.36 - 3) / 8."""
    found = charged_density(pulsed(again=1))
    assert found.recovered_share == pytest.approx(0.045)
    assert (found.skipped_share, found.origin) == (0.0, "default")
    assert "4.5% of columns converted again" in density_words(found)
    stated = charged_density(pulsed(again=1, cost={"recovered_share": 0.5}))
    assert (stated.recovered_share, stated.origin) == (0.5, "chip file and default")
    skipping = pulsed(skip=True, cost={"skipped_share": 0.5})
    assert charged_density(skipping).skipped_share == 0.5
    assert charged_density(pulsed()) == charged_density(pulsed(cost={"skipped_share": 0.5}))


def test_a_peak_converts_what_its_shares_say() -> None:
    plain, half = peak(pulsed(skip=True)), peak(pulsed(skip=True, cost={"skipped_share": 0.5}))
    assert half.conversions == plain.conversions / 2
    assert half.ledger.total_fj(component="adc") == plain.ledger.total_fj(component="adc") / 2
    assert half.tops == plain.tops


def test_shares_of_what_a_chip_does_not_do_have_no_effect() -> None:
    config = pulsed(cost={"skipped_share": 0.5, "recovered_share": 0.5})
    found = " ".join(knobs_without_effect(config))
    assert "cost.skipped_share has no effect" in found
    assert "cost.recovered_share has no effect" in found
    both = pulsed(again=1, skip=True, cost={"skipped_share": 0.5, "recovered_share": 0.5})
    assert not knobs_without_effect(both)


def test_converters_that_search_from_zero_are_charged_for_their_comparisons() -> None:
    """3.5 comparisons where a binary search of 7 bits takes 7: half of the energy."""
    adc = PULSED["adc"] | {"search": "lsb_first"}
    config, plain = chip(tile=PULSED | {"adc": adc}), pulsed()
    binary, unit = charged(plain, Density(0.2, 0.3))
    found, _ = charged(config, Density(0.2, 0.3, search_cycles=3.5))
    assert count(found, "adc") == asked(unit)
    assert found.total_fj(component="adc") == pytest.approx(binary.total_fj(component="adc") / 2)
    assumed, _ = charged(config, None)  # without a run: those of a binary search
    assert assumed.total_fj(component="adc") == binary.total_fj(component="adc")
    stated = chip(tile=PULSED | {"adc": adc}, cost={"search_cycles": 14})
    twice, _ = charged(stated, Density(0.2, 0.3, search_cycles=3.5))
    assert twice.total_fj(component="adc") == pytest.approx(2 * binary.total_fj(component="adc"))
    assert not knobs_without_effect(stated)
    assert "cost.search_cycles has no effect" in " ".join(
        knobs_without_effect(pulsed(cost={"search_cycles": 4}))
    )
