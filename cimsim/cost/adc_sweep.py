"""What resolution, rows and bits per cell do to the energy of a read, by four ADC models.

One chip is taken (ISAAC's tile with offset weights) and its converter, rows and bits per
cell are moved; every point is the peak evaluation of that chip, so its energy comes from
the same counted actions as a run's. Expected of physics, and checked at every step of the
grid: more ADC bits never cost less energy or area; more rows need proportionally fewer
conversions, so a MAC's share falls; more bits per cell never need more conversions or cells.

A conversion is lossless where its bits hold every column sum: log2(rows) + v + w for v
input bits and w cell bits, one less if either is one (Shafiee et al., ISCA 2016, sec. V).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2

from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.cost.peak import Peak, peak

__all__ = [
    "ADC_BITS",
    "CELL_BITS",
    "MODELS",
    "ROWS",
    "SweepPoint",
    "broken_steps",
    "lossless_bits",
    "sweep_adc",
]

MODELS = ("regression", "sar_table", "isaac", "zigzag")
ADC_BITS = tuple(range(4, 11))
ROWS = (64, 128, 256, 512, 1024)
CELL_BITS = tuple(range(1, 9))
_BASE = "isaac"
_COLUMNS = 128


@dataclass(frozen=True)
class SweepPoint:
    """One point of the grid.

    Attributes:
        model: kind of ADC that prices the conversion.
        adc_bits: its bits.
        rows: rows of the crossbar, all read at once.
        cell_bits: bits of a cell.
        lossless: whether the bits hold every column sum.
        adc_fj: energy of a conversion, its leakage included.
        adc_um2: area of one ADC.
        conversions_per_mac: conversions of one multiply-accumulate.
        adc_fj_per_mac: what converting adds to one.
        total_fj_per_mac: everything that the tile spends on one.
        cells_per_weight: cells that hold a weight.
        extrapolated: notes of the ADC outside its source's range.
    """

    model: str
    adc_bits: int
    rows: int
    cell_bits: int
    lossless: bool
    adc_fj: float
    adc_um2: float
    conversions_per_mac: float
    adc_fj_per_mac: float
    total_fj_per_mac: float
    cells_per_weight: int
    extrapolated: tuple[str, ...]


def lossless_bits(rows: int, input_bits: int, cell_bits: int) -> int:
    """Return the ADC bits that hold every column sum of unsigned inputs and cells."""
    spare = 0 if input_bits > 1 and cell_bits > 1 else 1
    return ceil(log2(rows)) + input_bits + cell_bits - spare


def sweep_adc(
    rate_gsps: float,
    bits: Sequence[int] = ADC_BITS,
    rows: Sequence[int] = ROWS,
    cell_bits: Sequence[int] = CELL_BITS,
) -> tuple[SweepPoint, ...]:
    """Evaluate the whole grid: every model, ADC bits, rows and cell bits.

    Args:
        rate_gsps: conversions per second of one ADC.
        bits: ADC bits.
        rows: rows of a crossbar.
        cell_bits: bits of a cell.

    Raises:
        CimsimError: if a point lies outside what its ADC model accepts.
    """
    points = []
    for model in MODELS:
        base = _base(model, rate_gsps)
        for w in cell_bits:
            for r in rows:
                points += [_point(_moved(base, b, r, w), model) for b in bits]
    return tuple(points)


def _base(model: str, rate_gsps: float) -> ChipConfig:
    adc = f"{{kind: {model}, bits: 8, rate_gsps: {rate_gsps}, per_pe: 8}}"
    settings = (
        "chip.tiles=1",
        "tile.weight.encoding=offset",
        f"tile.crossbar.cols={_COLUMNS}",
        f"tile.adc={adc}",
    )
    return load_chip(find_chip(_BASE), settings)


def _moved(base: ChipConfig, bits: int, rows: int, cell_bits: int) -> ChipConfig:
    """Return the chip with three knobs moved, all within the bounds of a chip file."""
    tile = base.tile.model_copy(
        update={
            "adc": base.tile.adc.model_copy(update={"bits": bits}),
            "crossbar": base.tile.crossbar.model_copy(update={"rows": rows}),
            "device": base.tile.device.model_copy(update={"cell_bits": cell_bits}),
        }
    )
    return base.model_copy(update={"tile": tile})


def _point(config: ChipConfig, model: str) -> SweepPoint:
    found: Peak = peak(config)
    tile, price = config.tile, found.cost.catalogue.prices["adc"]
    adc = sum(found.ledger.total_fj(component=c) for c in ("adc", "leakage_adc"))
    return SweepPoint(
        model=model,
        adc_bits=tile.adc.bits,
        rows=tile.crossbar.rows,
        cell_bits=tile.device.cell_bits,
        lossless=tile.adc.bits
        >= lossless_bits(tile.crossbar.rows, tile.dac.bits, tile.device.cell_bits),
        adc_fj=adc / found.conversions,
        adc_um2=price.area_um2 or 0.0,
        conversions_per_mac=found.conversions / found.macs,
        adc_fj_per_mac=adc / found.macs,
        total_fj_per_mac=found.ledger.total_fj() / found.macs,
        cells_per_weight=ceil(tile.weight.bits / tile.device.cell_bits),
        extrapolated=tuple(n for n in price.notes if n.startswith("extrapolated")),
    )


# Knob that is moved, and what may never fall (+1) or never rise (-1) along it.
_LAWS = (
    ("adc_bits", "adc_fj", 1),
    ("adc_bits", "adc_um2", 1),
    ("adc_bits", "adc_fj_per_mac", 1),
    ("adc_bits", "total_fj_per_mac", 1),
    ("rows", "conversions_per_mac", -1),
    ("rows", "adc_fj_per_mac", -1),
    ("rows", "total_fj_per_mac", -1),
    ("cell_bits", "conversions_per_mac", -1),
    ("cell_bits", "cells_per_weight", -1),
    ("cell_bits", "adc_fj_per_mac", -1),
)
_KNOBS = ("model", "adc_bits", "rows", "cell_bits")


def broken_steps(points: Sequence[SweepPoint]) -> tuple[int, tuple[str, ...]]:
    """Return the number of steps checked, and a sentence for each that breaks a law."""
    broken, checked = [], 0
    for knob, figure, direction in _LAWS:
        for first, second in _steps(points, knob):
            checked += 1
            a, b = getattr(first, figure), getattr(second, figure)
            if direction * (b - a) < -1e-9 * max(abs(a), abs(b)):
                broken.append(
                    f"{figure} of {first.model} goes from {a:.6g} to {b:.6g} where {knob} goes "
                    f"from {getattr(first, knob)} to {getattr(second, knob)} "
                    f"({first.adc_bits} bits, {first.rows} rows, {first.cell_bits} bits per cell)"
                )
    return checked, tuple(broken)


def _steps(points: Sequence[SweepPoint], knob: str) -> Iterator[tuple[SweepPoint, SweepPoint]]:
    """Yield neighbours of the grid along one knob."""
    lines: dict[tuple[object, ...], list[SweepPoint]] = {}
    for p in points:
        lines.setdefault(tuple(getattr(p, k) for k in _KNOBS if k != knob), []).append(p)
    for line in lines.values():
        line.sort(key=lambda p: float(getattr(p, knob)))
        yield from pairwise(line)
