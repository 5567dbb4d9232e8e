"""Columns of results.csv that say what the chip costs: energy, power and area."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cimsim.results.column import Column, Empty, count, number, text
from cimsim.stages.columns.quality import AT_BATCH, NO_CROSSBARS, with_calibrated
from cimsim.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from cimsim.stages.measured import ChipMeasurement

__all__ = ["AREA", "ENERGY"]

FEWER = Empty("fewer components than this")


def _top(rank: int, word: str) -> tuple[Column[ChipMeasurement], Column[ChipMeasurement]]:
    """Return the columns of a component and its share."""
    empty = () if rank == 1 else (FEWER,)

    def entry(m: ChipMeasurement, item: int) -> str | float | Empty:
        return m.top_components[rank - 1][item] if rank <= len(m.top_components) else FEWER

    return (
        text(f"energy_top{rank}_name", f"{word} energy component.", lambda m: entry(m, 0), *empty),
        number(f"energy_top{rank}_share", "1",
               f"Share of the {word.lower()} component in energy_per_token_nj.",
               lambda m: entry(m, 1), *empty, maximum=1.0),
    )  # fmt: skip


def _leakage_coverage(m: ChipMeasurement) -> float:
    leakage = m.chip.cost.leakage()
    return sum(not isinstance(row.power_uw, str) for row in leakage) / len(leakage)


ENERGY: tuple[Column[ChipMeasurement], ...] = (
    *with_calibrated(number("energy_per_token_nj", "nJ",
                            f"Energy per token: chip, leakage, DRAM and I/O; {AT_BATCH}.",
                            lambda side: side.main.energy_per_token_nj,
                            formula="energy_dynamic_per_token_nj + energy_leakage_per_token_nj + "
                            "energy_off_chip_per_token_nj", better="lower")),
    number("energy_dynamic_per_token_nj", "nJ", f"Energy of work on the chip; {AT_BATCH}.",
           lambda m: m.main.energy_by_kind_nj["dynamic"]),
    number("energy_leakage_per_token_nj", "nJ",
           f"On-chip leakage x time of the components in leakage_coverage; {AT_BATCH}.",
           lambda m: m.main.energy_by_kind_nj["leakage"]),
    number("energy_off_chip_per_token_nj", "nJ", f"DRAM and chip I/O; {AT_BATCH}.",
           lambda m: m.main.energy_by_kind_nj["off_chip"]),
    number(
        "chip_link_bytes_per_token",
        "byte",
        f"Bytes over links between chips, each link counted; {AT_BATCH}.",
        lambda m: m.main.result.counts.chip_link_bits / BITS_PER_BYTE / m.main.result.counts.tokens,
        better="lower",
    ),
    number(
        "io_bytes_per_token",
        "byte",
        f"Token ids in, logits out; charged where system.io_pj_per_bit is given; {AT_BATCH}.",
        lambda m: (
            (m.main.result.counts.io_in_bytes + m.main.result.counts.io_out_bytes)
            / m.main.result.counts.tokens
        ),
    ),
    number("tier_switches_per_token", "1",
           f"Changes of the active tier over all tiles (tile.tiers); {AT_BATCH}.",
           lambda m: m.main.result.counts.tier_switches / m.main.result.counts.tokens,
           better="lower"),
    number("prefill_energy_per_token_nj", "nJ", "Energy per token in prefill.",
           lambda m: m.before.prefill.energy_per_token_nj, better="lower"),
    *_top(1, "Largest"),
    *_top(2, "Second largest"),
    *_top(3, "Third largest"),
    number("macs_per_token", "1",
           "Multiply-accumulates per token: linear layers (active experts only, no padding) plus "
           "2 x context x attention width per layer.",
           lambda m: m.macs_per_token),
    number("tops_per_w", "TOPS/W",
           "Operations per joule at the bits of this row; 1 MAC = 2 operations.",
           lambda m: 2.0 * m.macs_per_token / (1000.0 * m.main.energy_per_token_nj),
           formula="2 x macs_per_token / (1000 x energy_per_token_nj)", better="higher"),
    number("avg_power_w", "W", f"Energy over makespan; {AT_BATCH}.",
           lambda m: m.main.power_w, better="lower"),
    number("peak_power_w", "W", f"Worst window of 1 us; {AT_BATCH}.",
           lambda m: m.peak_power_w, better="lower"),
    number("leakage_coverage", "1",
           "Share of component kinds whose leakage is modelled; the others say not modelled.",
           _leakage_coverage, maximum=1.0),
)  # fmt: skip


def _cell_utilisation(m: ChipMeasurement) -> float | None:
    if not m.chip.placement.units:
        return None
    mesh, crossbar = m.chip.mesh, m.config.tile.crossbar
    cells = mesh.n_tiles * mesh.crossbars_per_tile * crossbar.rows * crossbar.cols
    return m.chip.placement.cells_used / cells


AREA: tuple[Column[ChipMeasurement], ...] = (
    number("area_mm2", "mm2", "All on-chip components; DRAM apart.",
           lambda m: m.area_mm2, better="lower"),
    number("tokens_per_s_per_mm2", "token/s/mm2", "Decode throughput per square millimetre.",
           lambda m: m.main.tokens_per_s / m.area_mm2, formula="tokens_per_s / area_mm2",
           better="higher"),
    number("power_density_w_per_mm2", "W/mm2", "Average power per square millimetre.",
           lambda m: m.main.power_w / m.area_mm2, formula="avg_power_w / area_mm2", better="lower"),
    count("chips", "1", "Chips of the system (system.chips).", lambda m: m.chip.mesh.chips),
    count("dies", "1", "Dies that hold the model once.", lambda m: m.dies),
    count("tiles", "1", "Tiles of the chip.",
          lambda m: m.chip.mesh.n_tiles if m.chip.placement.units else 0),
    number("cell_utilisation", "1", "Cells that hold a weight over all cells.", _cell_utilisation,
           NO_CROSSBARS, better="higher", maximum=1.0),
)  # fmt: skip
