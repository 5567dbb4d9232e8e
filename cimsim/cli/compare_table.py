"""A comparison as lines of at most 80 columns."""

from __future__ import annotations

from textwrap import wrap

from cimsim.results import Row, number_of
from cimsim.stages.compare import ComparedSystem, Comparison

__all__ = ["comparison_lines"]

WIDTH = 80
NAME = 19
HEADS = (("copies", 7), ("mm2", 9), ("W", 8), ("token/s", 9), ("uJ/token", 10))
RULE = (
    "One copy is a chip whose tiles hold the model once, with its own digital units and "
    "memory channels; copies are data-parallel, share nothing and serve {batch} sequences "
    "each. Energy and W include DRAM, I/O where the chip states it, and leakage; token/s are "
    "all tokens over the whole time; mm2 are the modelled components on "
    "chip. Perplexity is the tiny model's, with its 95 % interval over chip seeds. "
    "* no chip of the same node and bits is better in everything."
)


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return the table, a block for every class of node and bits, and what to mind."""
    lines = [
        f"equal {comparison.iso} (within {100 * comparison.spread:.1f} %), "
        f"decode at the shape of {comparison.shape}"
    ]
    head = "chip".ljust(NAME) + "".join(name.rjust(width) for name, width in HEADS)
    lines.append(head + "  perplexity")
    for (node, weight, inputs), systems in comparison.classes().items():
        lines.append(f"-- {node:g} nm, {weight}-bit weights, {inputs}-bit inputs")
        lines += [_line(s) for s in systems]
    limits = [f"{s.chip.name} by {s.chip.scale['critical_resource']}" for s in comparison.systems]
    lines += ["", *wrap(f"limited: {'; '.join(limits)}", WIDTH, subsequent_indent="  ")]
    lines += wrap(
        f"ADCs: {'; '.join(map(_adc, comparison.systems))}", WIDTH, subsequent_indent="  "
    )
    for pair in comparison.pairs:
        lines += wrap(_pair(pair), WIDTH, subsequent_indent="  ")
    for warning in comparison.warnings:
        lines += wrap(f"note: {warning}", WIDTH, subsequent_indent="  ")
    return [*lines, *wrap(RULE.format(batch=comparison.batch), WIDTH)]


def _line(system: ComparedSystem) -> str:
    chip, copies = system.chip, system.copies
    numbers = (
        f"{copies}",
        _short(copies * chip.area_mm2),
        _short(copies * chip.power_w),
        _short(copies * chip.tokens_per_s),
        _short(chip.energy_per_token_nj / 1e3),
    )
    cells = "".join(n.rjust(width) for n, (_, width) in zip(numbers, HEADS, strict=True))
    name = chip.name if len(chip.name) < NAME else f"{chip.name[: NAME - 2]}~"
    mean, low, high = system.perplexity
    said = f"{mean:.4g} {low:.4g}-{high:.4g}" if high > low else f"{mean:.4g}"
    if chip.destroyed:
        said = f"{_short(mean)} destroyed"
    mark = "*" if system.on_front else ""
    return f"{name.ljust(NAME)}{cells} {mark}{said}"[:WIDTH]


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


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value:.3g}"
    return f"{value:.0f}" if value >= 1e4 else f"{value:.4g}"
