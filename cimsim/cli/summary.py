"""What a run prints: a table on stdout that fits 80 columns, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import wrap

from cimsim.cli.answer import answer_lines, short
from cimsim.results import Cell, Row, RunResults, number_of
from cimsim.results.destroyed import advice_of
from cimsim.stages.memory import machine_bytes
from cimsim.stages.plan import RunPlan

TINY = (
    ("p50 us", "latency_p50_us"),
    ("p99 us", "latency_p99_us"),
    ("token/s", "tokens_per_s"),
    ("nJ/token", "energy_per_token_nj"),
    ("TOPS/W", "tops_per_w"),
    ("mm2", "area_mm2"),
)


def print_plan(plan: RunPlan) -> None:
    """Print what a run would do, and what is known before it."""
    for warning in plan.warnings:
        print(f"warning: {warning}")
    for task in plan.tasks:
        print(f"{task.name}: {task.model} on {task.config.name}")
    print(f"{len(plan.tasks)} runs, {plan.jobs} at once, into {plan.folder.path}")
    if plan.memory_bytes is not None:
        print(memory_line(plan.memory_bytes))


def memory_line(peak_bytes: int) -> str:
    """Return what a run will take of this machine's memory, in words."""
    return (
        f"memory: at most about {peak_bytes / 1e9:.1f} GB at the peak, of "
        f"{machine_bytes() / 1e9:.1f} GB"
    )


def print_summary(run: RunResults, *, as_json: bool, folder: str, tiny: bool = False) -> None:
    """Print the main figures of every chip and where the report is.

    Args:
        run: finished chips.
        as_json: print all of results.csv as a JSON list instead.
        folder: the run's folder.
        tiny: print speed and energy of the tiny model too.
    """
    rows = run.tables()["results"]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    several = len({r["model"] for r in rows}) > 1
    names = [f"{r['config']} {r['model']}" if several else str(r["config"]) for r in rows]
    print("\n".join(answer_lines(run)))
    if tiny:
        _print_tiny(names, rows)
    told = (*_destroyed(names, rows), *_advice(run, names), *_extrapolated(run), *_parts(rows))
    for line in told:
        print(line)
    print(f"report: {folder}/report.html")


def _print_tiny(names: Sequence[str], rows: Sequence[Row]) -> None:
    """Print speed and energy of the model whose perplexity is given."""
    width = max([len(n) for n in names] + [4])
    print("\ntiny model: decode at the largest batch, energy with DRAM and leakage")
    _line("chip".ljust(width), [head for head, _ in TINY])
    for name, row in zip(names, rows, strict=True):
        _line(name.ljust(width), [_short(row[key]) for _, key in TINY])


def _destroyed(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Name the chips that have lost all context, and what they are measured against."""
    when = {
        (True, True): "",
        (True, False): " (before calibration)",
        (False, True): " (after calibration)",
    }
    flags = [(row["destroyed"] is True, row["destroyed_calibrated"] is True) for row in rows]
    lost = [name + when[f] for name, f in zip(names, flags, strict=True) if f in when]
    if not lost:
        return []
    lines = dict.fromkeys(_short(row["ppl_unigram"]) for row in rows)
    bound = f"at or above the perplexity of unigrams, {', '.join(lines)}"
    return wrap(f"destroyed ({bound}): {', '.join(lost)}", 80)


def _advice(run: RunResults, names: Sequence[str]) -> list[str]:
    """Say what destroyed chips, which ranges cost much, and which knob to turn."""
    return [
        line
        for name, chip in zip(names, run.chips, strict=True)
        for told in advice_of(chip.warnings)
        for line in wrap(f"{name}: {told}", 80, subsequent_indent="  ")
    ]


def _parts(rows: Sequence[Row]) -> list[str]:
    """Say what each part of calibrating brought, and how many chips are good: of a single chip."""
    if len(rows) > 1 or rows[0]["calibration_parts"] is None:
        return []
    low, high = (100 * number_of(rows[0], f"yield_ci_{end}") for end in ("low", "high"))
    share = f"good chips: {100 * number_of(rows[0], 'yield'):.0f} % ({low:.0f} to {high:.0f} %)"
    parts = f"calibration, loss in nats: {rows[0]['calibration_parts']}"
    return [*wrap(parts, 80, subsequent_indent="  "), share]


def _extrapolated(run: RunResults) -> list[str]:
    """Say on which chips costs were carried beyond the data of their models."""
    counts = {c.name: sum(n.startswith("extrapolated") for n in c.notes) for c in run.chips}
    beyond = [f"{name} ({count})" for name, count in counts.items() if count]
    if not beyond:
        return []
    return wrap(f"costs extrapolated, see the report: {', '.join(beyond)}", 80)


def _line(name: str, cells: Sequence[str]) -> None:
    print(name + "".join(cell.rjust(9) for cell in cells))


def _short(value: Cell) -> str:
    if not isinstance(value, int | float):
        return "-"
    return short(value)
