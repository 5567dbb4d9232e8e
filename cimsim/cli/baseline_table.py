"""Baselines of a comparison as lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from cimsim.cli.compare_table import fit_number
from cimsim.stages.baselines import BaselineSystem, baseline_notes

__all__ = ["baseline_lines"]

WIDTH = 80
NAME = 16
HEADS = (
    ("batch", 6), ("copies", 9), ("devices", 8), ("mm2", 8), ("W", 8), ("tokens/s", 9), ("ms", 7),
    ("mJ", 7),
)  # fmt: skip
RULE = (
    "Baselines are rooflines: each operation takes the longer of its products and its bytes at "
    "the efficiencies below, weights are read once a step and keys and values of every sequence "
    "whole; launches, links between devices and idle time are free. A copy is as many devices as "
    "hold weights and cache. mm2 are dies without memory. m: memory limits most of the step, "
    "c: products."
)


def baseline_lines(systems: Sequence[BaselineSystem]) -> list[str]:
    """Return the table of baselines and what it rests on; nothing where there is none."""
    if not systems:
        return []
    head = "baseline".ljust(NAME) + "".join(name.rjust(width) for name, width in HEADS)
    lines = ["", head, *map(_line, systems)]
    lines += wrap(RULE, WIDTH)
    for note in baseline_notes(systems):
        lines += wrap(f"source: {note}", WIDTH, subsequent_indent="  ")
    return lines


def _line(system: BaselineSystem) -> str:
    step, n = system.step, system.copies
    numbers = (
        step.batch, n, step.devices, n * step.area_mm2, n * step.power_w, n * step.tokens_per_s,
        1e3 * step.step_s, 1e3 * step.energy_per_token_j,
    )  # fmt: skip
    cells = "".join(fit_number(x, width) for x, (_, width) in zip(numbers, HEADS, strict=True))
    return f"{f'{step.baseline.name} {step.baseline.dtype}'.ljust(NAME)}{cells} {step.limit[0]}"
