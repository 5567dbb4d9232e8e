"""Rows of results.csv: types, and what must hold between their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Row
from cimsim.results.destroyed import is_destroyed
from cimsim.results.result_columns import DEFAULT_BATCHES, LATENCY_PARTS, results_table

__all__ = ["check_identities", "results_row"]

RELATIVE_TOLERANCE = 1e-9


def results_row(
    cells: Mapping[str, object],
    reasons: Mapping[str, str] | None = None,
    batches: Sequence[int] = DEFAULT_BATCHES,
) -> Row:
    """Check one row of results.csv, its types and the identities between its columns.

    Args:
        cells: a value a column.
        reasons: why each empty cell is empty.
        batches: decode batch sizes of the chip.

    Raises:
        CimsimInternalError: if a cell is wrong or two cells contradict each other.
    """
    row = results_table(batches).row(cells, reasons)
    check_identities(row)
    return row


def check_identities(row: Row) -> None:
    """Check what must hold between columns of one row of results.csv.

    Raises:
        CimsimInternalError: naming the identity that is broken.
    """

    def number(name: str) -> float:
        value = row[name]
        if isinstance(value, str) or value is None:
            message = f"column {name} is not a number"
            raise CimsimInternalError(message)
        return float(value)

    parts = sum(
        number(f"energy_{part}_per_token_nj") for part in ("dynamic", "leakage", "off_chip")
    )
    total = number("energy_per_token_nj")
    _same("energy parts sum to the total", parts, total)
    _same(
        "latency parts sum to the latency",
        sum(number(f"latency_{part}_us") for part in LATENCY_PARTS),
        number("latency_mean_us"),
    )
    _same(
        "tops_per_w x energy = 2 x MACs",
        number("tops_per_w") * total * 1000,
        2 * number("macs_per_token"),
    )
    _same(
        "throughput x makespan = tokens",
        number("tokens_per_s") * number("makespan_us") / 1e6,
        number("tokens"),
    )
    _same(
        "throughput a square millimetre",
        number("tokens_per_s_per_mm2") * number("area_mm2"),
        number("tokens_per_s"),
    )
    _same(
        "power density",
        number("power_density_w_per_mm2") * number("area_mm2"),
        number("avg_power_w"),
    )
    for stage in ("noisy", "calibrated"):
        low, mean, high = (number(f"ppl_{stage}_{x}") for x in ("ci_low", "mean", "ci_high"))
        if not low <= mean <= high:
            message = f"ppl_{stage}: the mean {mean} is outside its interval {low} to {high}"
            raise CimsimInternalError(message)
        flag = {"noisy": "destroyed", "calibrated": "destroyed_calibrated"}[stage]
        if row[flag] is not is_destroyed(mean, number("ppl_unigram")):
            message = f"{flag} is {row[flag]} of a perplexity of {mean}"
            raise CimsimInternalError(message)


def _same(what: str, found: float, expected: float) -> None:
    if abs(found - expected) > RELATIVE_TOLERANCE * max(abs(found), abs(expected)):
        message = f"identity broken: {what} ({found!r} against {expected!r})"
        raise CimsimInternalError(message)
