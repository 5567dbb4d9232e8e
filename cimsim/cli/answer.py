"""The main figures of a run as lines of at most 80 columns: at full size, then perplexity.

Every chip is set against the first one: full-size figures by their ratio, the loss by its mean
difference in pairs of chip seeds with its interval (pairs.csv).
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from cimsim.results import ChipResult, Row, RunResults, number_of
from cimsim.results.scale_rows import FREE_MEMORY, leakage_share

__all__ = ["FULL_SIZE_HEADS", "PERPLEXITY_HEADS", "answer_lines", "short"]

WIDTH = 80
NAME = 19
MUCH = 0.3
NJ_PER_MJ = 1e6
US_PER_MS = 1e3
FULL_SIZE_HEADS = ("batch", "mJ/token", "ms/token", "tokens/s", "W", "dies", "mm2")
FULL_SIZE_WIDTHS = (6, 9, 10, 10, 9, 8, 9)
PERPLEXITY_HEADS = ("float", "noisy", "95 %", "calib.", "95 %", "loss change")


def answer_lines(run: RunResults) -> list[str]:
    """Return the tables of every chip of a run and what to mind when reading them."""
    several = len({c.row["model"] for c in run.chips}) > 1
    names = [f"{c.row['config']} {c.row['model']}" if several else str(c.row["config"])
             for c in run.chips]  # fmt: skip
    named = list(zip(names, run.chips, strict=True))
    return [*_full_size(named), *_perplexity(run, named)]


def _full_size(named: Sequence[tuple[str, ChipResult]]) -> list[str]:
    """Return decode at the shape of a full-size model: a line per chip and batch."""
    scaled = [(name, rows) for name, chip in named if (rows := _decoded(chip))]
    if not scaled:
        return []
    (first, reference), *_ = scaled
    shapes = dict.fromkeys(str(rows[0]["shape"]) for _, rows in scaled)
    context = number_of(reference[0], "context")
    lines = [
        f"full size: decode at the shape of {', '.join(shapes)}, context {context:,.0f}",
        _line("chip", FULL_SIZE_HEADS, FULL_SIZE_WIDTHS),
    ]
    for name, rows in scaled:
        for row in rows:
            cells = [str(row["batch"]), *map(short, _measures(row))]
            lines.append(_line(name if row is rows[0] else "", cells, FULL_SIZE_WIDTHS))
        if rows is not reference:
            # A long list is read for its main figure, the largest batch.
            lines += _ratios(first, reference, rows[-1:] if len(scaled) > 2 else rows)
    return [*lines, *_to_mind(named, scaled), ""]


def _decoded(chip: ChipResult) -> list[Row]:
    return [r for r in chip.scale if r["phase"] == "decode"]


def _measures(row: Row) -> tuple[float, ...]:
    """Return mJ and ms per token, tokens/s, W, dies and mm2."""
    return (
        number_of(row, "energy_per_token_nj") / NJ_PER_MJ,
        number_of(row, "latency_us") / US_PER_MS,
        number_of(row, "tokens_per_s"),
        number_of(row, "power_w"),
        number_of(row, "dies"),
        number_of(row, "area_mm2"),
    )


def _ratios(first: str, reference: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """Return every figure over that of the first chip; none at other bits or another shape."""
    alike = ("shape", "weight_bits", "input_bits")
    if any(rows[0][c] != reference[0][c] for c in alike):
        return [f"  not compared with {first[:NAME]}: other bits or another shape"]
    known = {r["batch"]: _measures(r) for r in reference}
    lines = []
    for row in rows:
        if row["batch"] in known:
            pairs = zip(_measures(row), known[row["batch"]], strict=True)
            cells = [str(row["batch"]), *(f"x {short(a / b, 3)}" for a, b in pairs)]
            lines.append(_line(f"  over {first}", cells, FULL_SIZE_WIDTHS))
    return lines


def _to_mind(
    named: Sequence[tuple[str, ChipResult]], scaled: Sequence[tuple[str, Sequence[Row]]]
) -> list[str]:
    """Say what limits the largest batch, how sure its time is, what leaks, that nodes differ."""
    nodes = sorted({number_of(rows[0], "node_nm") for _, rows in scaled})
    limits: dict[str, list[str]] = {}
    for name, rows in scaled:
        limits.setdefault(str(rows[-1]["critical_resource"]), []).append(name)
    told = "; ".join(
        f"{what} ({'all' if len(names) == len(scaled) > 1 else ', '.join(names)})"
        for what, names in limits.items()
    )
    batch = scaled[0][1][-1]["batch"]
    found = [f"busiest at batch {batch}: {told}"]
    found += _without_memory_limit(named, batch)
    found.append(f"mJ/token, 95 % of draws of cost constants: {', '.join(map(_ends, scaled))}")
    errors = [_error(name, rows[-1]) for name, rows in scaled]
    found.append(f"ms/token at batch {batch} is a mean, 95 %: {', '.join(errors)}")
    found += [told for name, rows in scaled if (told := _leaks(name, rows[-1]))]
    if len(nodes) > 1:
        found.append(f"nodes differ ({', '.join(f'{n:g}' for n in nodes)} nm): nothing is scaled")
    return [line for said in found for line in wrap(said, WIDTH, subsequent_indent="  ")]


def _without_memory_limit(named: Sequence[tuple[str, ChipResult]], batch: object) -> list[str]:
    """Return tokens/s of an off-chip memory that transfers in no time."""
    speeds = [
        f"{name} {short(number_of(row, 'tokens_per_s'))}"
        for name, chip in named
        for row in chip.scale
        if row["phase"] == FREE_MEMORY and row["batch"] == batch
    ]
    return [f"tokens/s without the memory's limit: {', '.join(speeds)}"] if speeds else []


def _ends(chip: tuple[str, Sequence[Row]]) -> str:
    """Return the interval of the energy of the largest batch."""
    name, rows = chip
    low, high = (number_of(rows[-1], f"energy_per_token_{end}_nj") for end in ("low", "high"))
    return f"{name} {short(low / NJ_PER_MJ, 3)} to {short(high / NJ_PER_MJ, 3)}"


def _error(name: str, row: Row) -> str:
    error = row["latency_error_us"]
    if not isinstance(error, int | float):
        return f"{name} not known"
    return f"{name} ±{short(100 * error / number_of(row, 'latency_us'), 2)} %"


def _leaks(name: str, row: Row) -> str:
    """Say that what never sleeps takes much of the energy; "" where it does not."""
    share = leakage_share(row)
    if row["never_sleeping"] is None or share < MUCH:
        return ""
    what = "; ".join(str(row["never_sleeping"]).split("; ")[:2])
    return f"{name}: {100 * share:.0f} % is leakage; never asleep: {what}"


def _perplexity(run: RunResults, named: Sequence[tuple[str, ChipResult]]) -> list[str]:
    """Return the perplexity on every chip, and the change of the loss against the first."""
    pairs = {(r["config"], r["model"]): r for r in run.tables()["pairs"]}
    models = ", ".join(dict.fromkeys(str(chip.row["model"]) for _, chip in named))
    seeds = sorted({int(number_of(chip.row, "chip_seeds")) for _, chip in named})
    drawn = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    widths = (7, 8, 7, 8, 7, 24)
    lines = [
        f"perplexity of {models} on {run.text_name}, {drawn} chip seed{'s' * (seeds != [1])}",
        _line("chip", PERPLEXITY_HEADS, widths),
    ]
    for name, chip in named:
        row = chip.row
        cells = (
            short(number_of(row, "ppl_float")),
            *_mean(row, "noisy", "destroyed"),
            *_mean(row, "calibrated", "destroyed_calibrated"),
            _change(pairs.get((row["config"], row["model"]))),
        )
        lines.append(_line(name, cells, widths))
    if any(chip.row[c] is True for _, chip in named for c in ("destroyed", "destroyed_calibrated")):
        lines.append("+ destroyed: no better than counting tokens")
    if pairs:
        first = str(next(iter(pairs.values()))["reference"])
        lines += wrap(f"loss change: nat per token, calibrated, less {first}'s [95 %]", WIDTH)
    return lines


def _mean(row: Row, stage: str, lost: str) -> tuple[str, str]:
    """Return a mean perplexity and half the width of its interval."""
    mean = row[f"ppl_{stage}_mean"]
    low, high = (row[f"ppl_{stage}_ci_{end}"] for end in ("low", "high"))
    if not isinstance(mean, float) or not isinstance(low, float) or not isinstance(high, float):
        return "-", "-"
    mark = "+" if row[lost] is True else ""
    return f"{short(mean)}{mark}", "-" if low == high else f"±{short((high - low) / 2, 2)}"


def _change(pair: Row | None) -> str:
    if pair is None or pair["loss_change_calibrated_mean"] is None:
        return "-"
    mean, low, high = (
        number_of(pair, f"loss_change_calibrated_{end}") for end in ("mean", "ci_low", "ci_high")
    )
    said, least, most = (f"{x:+.3f}" if abs(x) < 1 else f"{x:+.2g}" for x in (mean, low, high))
    return said if low == high else f"{said} [{least},{most}]"


def _line(name: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    name = name if len(name) < NAME else f"{name[: NAME - 2]}~"
    right = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return name.ljust(NAME) + "".join(right)


def short(value: float, digits: int = 4) -> str:
    """Return a number that reads at a glance: few digits, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.2e}"
    # A rounded number is written out: 180, not 1.8e+02.
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{float(f'{value:.{digits}g}'):g}"
