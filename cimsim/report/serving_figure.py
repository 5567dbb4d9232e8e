"""Latency against arrival rate, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cimsim.report.canvas import BLUE, GREY, ORANGE, PALETTE, Picture, drawing, picture

__all__ = ["serving_figure"]

PARTS = ("queue", "compute", "adc", "noc", "dram", "write", "digital")


def serving_figure(rows: Sequence[Mapping[str, object]], *, partial: bool) -> Picture:
    """Draw latency percentiles and parts over the rates of `cimsim serve`.

    Args:
        rows: the closed loop, then one row a rate, with the columns of the command.
        partial: whether rates are missing because a limit was reached.
    """
    closed, served = rows[0], sorted(rows[1:], key=lambda r: _number(r, "rate_per_s"))
    rate = [_number(r, "rate_per_s") for r in served]
    with drawing(9.2, 3.9) as figure:
        left, right = figure.subplots(1, 2, sharex=True)
        for name, colour, label in (
            ("latency_p99_us", ORANGE, "99th percentile"),
            ("latency_mean_us", BLUE, "mean"),
            ("latency_p50_us", GREY, "median"),
        ):
            if all(r[name] is not None for r in served):
                left.plot(rate, [_number(r, name) for r in served], "o-", color=colour, label=label)
        capacity = _number(closed, "completed_per_s")
        left.axvline(capacity, color=GREY, linestyle="--", label="capacity (closed loop)")
        left.set_ylabel("latency of a request, us")
        left.set_yscale("log")
        left.set_title("Latency" + (" (partial: a limit was reached)" if partial else ""))
        left.legend()
        shares = [[_number(r, f"{part}_us") for r in served] for part in PARTS]
        right.stackplot(rate, shares, labels=PARTS, colors=PALETTE[: len(PARTS)])
        right.set_title("What the mean is made of")
        right.set_ylabel("us")
        right.legend(loc="upper left")
        for axes in (left, right):
            axes.set_xlabel("requests that arrive per second")
        return picture(
            figure,
            "latency_load",
            "Latency against load",
            "Requests that arrive at random or at recorded times; latency from arrival to the "
            "last token. At and above the capacity there is no steady state.",
            f"Latency curve of {len(served)} rates; capacity {capacity:.3g} requests per second.",
        )


def _number(row: Mapping[str, object], name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, (int, float)) else 0.0
