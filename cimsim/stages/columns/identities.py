"""What must hold between the columns of one row of results.csv."""

from __future__ import annotations

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Row, number_of
from cimsim.results.destroyed import is_destroyed
from cimsim.stages.columns.speed import LATENCY_PARTS

__all__ = ["check_identities"]

RELATIVE_TOLERANCE = 1e-9


def check_identities(row: Row) -> None:
    """Check what must hold between columns of one row of results.csv.

    Raises:
        CimsimInternalError: naming the identity that is broken.
    """

    def number(name: str) -> float:
        return number_of(row, name)

    kinds = ("dynamic", "leakage", "off_chip")
    total = number("energy_per_token_nj")
    for what, found, expected in (
        (
            "energy parts sum to the total",
            sum(number(f"energy_{kind}_per_token_nj") for kind in kinds),
            total,
        ),
        (
            "latency parts sum to the latency",
            sum(number(f"latency_{part}_us") for part in LATENCY_PARTS),
            number("latency_mean_us"),
        ),
        (
            "tops_per_w x energy = 2 x MACs",
            number("tops_per_w") * total * 1000,
            2 * number("macs_per_token"),
        ),
        (
            "throughput x makespan = tokens",
            number("tokens_per_s") * number("makespan_us") / 1e6,
            number("tokens"),
        ),
        (
            "throughput per square millimetre",
            number("tokens_per_s_per_mm2") * number("area_mm2"),
            number("tokens_per_s"),
        ),
        (
            "power density",
            number("power_density_w_per_mm2") * number("area_mm2"),
            number("avg_power_w"),
        ),
    ):
        if abs(found - expected) > RELATIVE_TOLERANCE * max(abs(found), abs(expected)):
            message = f"identity broken: {what} ({found!r} against {expected!r})"
            raise CimsimInternalError(message)
    for stage, flag in (("noisy", "destroyed"), ("calibrated", "destroyed_calibrated")):
        low, mean, high = (number(f"ppl_{stage}_{x}") for x in ("ci_low", "mean", "ci_high"))
        if not low <= mean <= high:
            message = f"ppl_{stage}: the mean {mean} is outside its interval {low} to {high}"
            raise CimsimInternalError(message)
        if row[flag] is not is_destroyed(mean, number("ppl_unigram")):
            message = f"{flag} is {row[flag]} of a perplexity of {mean}"
            raise CimsimInternalError(message)
