"""A comparison as lines of at most 80 columns."""

from __future__ import annotations

from textwrap import wrap

from cimsim.cli.answer import short
from cimsim.results import Row, number_of
from cimsim.results.scale_rows import FREE_MEMORY
from cimsim.stages.compare import ComparedSystem, Comparison
from cimsim.stages.rankings import Ranking

__all__ = ["HEADS", "comparison_lines", "fit_number"]

WIDTH = 80
NAME = 18
HEADS = (
    ("copies", 8),
    ("dies", 6),
    ("mm2", 8),
    ("W", 8),
    ("tokens/s", 9),
    ("ms", 7),
    ("mJ", 7),
    ("ppl", 7),
)
"""Headings and widths of a comparison."""
RULE = (
    "One copy is a chip whose tiles hold the model once, with its own digital units and "
    "memory channels; copies share nothing and serve {batch} sequences each, and a fraction is "
    "the proportion in which large systems would be built. mJ are per token; energy and W include "
    "DRAM, I/O where the chip states it, and leakage; ms are of a decoded token. "
    "Perplexity (ppl) is the tiny model's, calibrated; + destroyed. "
    "* no chip of the same node and bits is better in everything."
)


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return the table, a block for every class of node and bits, and what to mind."""
    free = " without the limit of memory" if comparison.phase == FREE_MEMORY else ""
    lines = [
        *wrap(f"the {comparison.iso} of one {comparison.reference}, decode{free} at the shape of "
              f"{comparison.shape}, batch {comparison.batch}", WIDTH),
        "chip".ljust(NAME) + "".join(name.rjust(width) for name, width in HEADS),
    ]  # fmt: skip
    for (node, weight, inputs), systems in comparison.classes().items():
        lines.append(f"-- {node:g} nm, {weight}-bit weights, {inputs}-bit inputs")
        lines += [_line(s) for s in systems]
    limits = [f"{s.chip.name} by {s.chip.scale['critical_resource']}" for s in comparison.systems]
    lines += ["", *wrap(f"limited: {'; '.join(limits)}", WIDTH, subsequent_indent="  ")]
    lines += wrap(
        f"ADCs: {'; '.join(map(_adc, comparison.systems))}", WIDTH, subsequent_indent="  "
    )
    errors = ", ".join(map(_error, comparison.systems))
    lines += wrap(f"ms, 95 % of their mean: {errors}", WIDTH, subsequent_indent="  ")
    lines += wrap(
        f"calibrating, nJ per token served (tiny model): {_calibrating(comparison)}",
        WIDTH,
        subsequent_indent="  ",
    )
    for told in _surety(comparison):
        lines += wrap(told, WIDTH, subsequent_indent="  ")
    for pair in comparison.pairs:
        lines += wrap(_pair(pair), WIDTH, subsequent_indent="  ")
    for warning in comparison.warnings:
        lines += wrap(f"note: {warning}", WIDTH, subsequent_indent="  ")
    return [*lines, *wrap(RULE.format(batch=comparison.batch), WIDTH)]


def _line(system: ComparedSystem) -> str:
    chip, copies = system.chip, system.copies
    mean, _, _ = system.perplexity
    marks = "+" * chip.destroyed + "*" * system.on_front
    numbers = (
        copies,
        copies * number_of(chip.scale, "dies"),
        copies * chip.area_mm2,
        copies * chip.power_w,
        copies * chip.tokens_per_s,
        number_of(chip.scale, "latency_us") / 1e3,
        chip.energy_per_token_nj / 1e6,
        mean,
    )
    cells = "".join(fit_number(n, width) for n, (_, width) in zip(numbers, HEADS, strict=True))
    name = chip.name if len(chip.name) < NAME else f"{chip.name[: NAME - 2]}~"
    return f"{name.ljust(NAME)}{cells}{marks}"


_WORDS = {
    "energy_per_token_nj": "mJ",
    "tokens_per_s": "tokens/s",
    "power_w": "W",
    "area_mm2": "mm2",
}


def _surety(comparison: Comparison) -> list[str]:
    """Return how far cost constants may move figures, and which rankings survive it."""
    drawn = [(s.chip.name, s.as_dict()) for s in comparison.systems if s.spread is not None]
    if not drawn:
        return []
    energies = ", ".join(
        f"{name} {float(str(d['energy_per_token_low_nj'])) / 1e6:.3g} to "
        f"{float(str(d['energy_per_token_high_nj'])) / 1e6:.3g}"
        for name, d in drawn
    )
    kept = [r for r in comparison.rankings if r.survives]
    lost = [r for r in comparison.rankings if not r.survives]
    lines = [f"mJ in 95 % of draws of the cost constants: {energies}"]
    if kept:
        lines.append(f"rankings that survive them: {'; '.join(map(_order, kept))}")
    if lost:
        lines.append(f"rankings that do not: {'; '.join(map(_order, lost))}")
    return lines


def _order(ranking: Ranking) -> str:
    return (
        f"{_WORDS[ranking.figure]} {ranking.better} before {ranking.worse} "
        f"({100 * ranking.share:.0f} %)"
    )


def _error(system: ComparedSystem) -> str:
    """Return half of the interval of the time per token, in percent of it."""
    scale = system.chip.scale
    error = scale["latency_error_us"]
    if not isinstance(error, int | float):
        return f"{system.chip.name} not known"
    return f"{system.chip.name} ±{short(100 * error / number_of(scale, 'latency_us'), 2)} %"


def _calibrating(comparison: Comparison) -> str:
    costs = [
        (s.chip.name, s.chip.row.get("calibration_energy_per_token_nj")) for s in comparison.systems
    ]
    return ", ".join(
        f"{name} {short(cost, 2) if isinstance(cost, int | float) else 'none'}"
        for name, cost in costs
    )


def fit_number(value: float, width: int) -> str:
    """Return a number with as many digits, up to four, as leave a blank before it."""
    texts = [short(value, digits) for digits in (4, 3)]
    texts += [f"{value:.{digits}e}" for digits in (2, 1, 0)]
    return next((t for t in texts if len(t) < width), texts[-1]).rjust(width)


def _pair(row: Row) -> str:
    """Say how the loss of a chip differs from that of the first one."""
    name = "loss_change_calibrated"
    start = f"loss: {row['config']} less {row['reference']}"
    if row[f"{name}_mean"] is None:
        return f"{start}: {row['empty_because']}"
    mean, low, high = (number_of(row, f"{name}_{end}") for end in ("mean", "ci_low", "ci_high"))
    interval = f" [{low:+.3g}, {high:+.3g}]" if row["chip_seeds"] != 1 else ""
    return f"{start} {mean:+.3g}{interval} nat per token, in pairs of chip seeds"


def _adc(system: ComparedSystem) -> str:
    """Name the ADC of a system and the model that prices it."""
    scale = system.chip.scale
    if scale["adc_bits"] is None:
        return f"{system.chip.name} none"
    return f"{system.chip.name} {scale['adc_bits']} b by model {scale['adc_model']}"
