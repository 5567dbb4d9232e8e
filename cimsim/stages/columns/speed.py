"""Columns of results.csv that say how fast the chip is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cimsim.results.column import Column, Empty, count, number, text
from cimsim.results.run import NOT_RUN
from cimsim.results.statistics import percentile
from cimsim.stages.columns.quality import AT_BATCH, with_calibrated
from cimsim.units import PS_PER_US

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cimsim.stages.measured import ChipMeasurement
    from cimsim.stages.timing import Phase

__all__ = ["LATENCY_PARTS", "speed_columns"]

LATENCY_PARTS = {
    "queue": "waiting for digital units, ADC groups, buffers, power, keys and values",
    "compute": "in crossbars, conversions apart",
    "adc": "that conversions add to visits",
    "noc": "in the network, between tiles and between chips",
    "dram": "waiting for off-chip memory",
    "write": "waiting for crossbars to be written",
    "digital": "in digital units",
}
"""Parts of a latency, which sum to it; of stages in parallel, those of the last to finish."""

FEW = Empty("p99 needs at least 100 samples")


def _tpot_us(phase: Phase, percent: float) -> float | Empty:
    """Return a percentile of the time per token."""
    return _us(phase.result.tpot_ps, percent)


def _us(samples_ps: NDArray[np.int64], percent: float) -> float | Empty:
    found = percentile(samples_ps, percent)
    return FEW if found is None else found / PS_PER_US


def _batch_columns(batch: int) -> tuple[Column[ChipMeasurement], ...]:
    """Return the decode columns of a batch size, e.g. ``tpot_p50_us_b8``."""
    at = f"decode with {batch} sequence{'s' if batch > 1 else ''} at once"
    return (
        number(f"tpot_p50_us_b{batch}", "us", f"Time per token, median, {at}.",
               lambda m: _tpot_us(m.before.decode(batch), 50), NOT_RUN, better="lower"),
        number(f"tpot_p99_us_b{batch}", "us", f"Time per token, 99th percentile, {at}.",
               lambda m: _tpot_us(m.before.decode(batch), 99), FEW, NOT_RUN, better="lower"),
        number(f"decode_tokens_per_s_b{batch}", "token/s",
               f"Tokens over the makespan, filling and draining included, {at}.",
               lambda m: m.before.decode(batch).tokens_per_s, NOT_RUN, better="higher"),
        number(f"decode_energy_per_token_nj_b{batch}", "nJ",
               f"Energy per token, all components, {at}.",
               lambda m: m.before.decode(batch).energy_per_token_nj, NOT_RUN, better="lower"),
    )  # fmt: skip


def _part_us(m: ChipMeasurement, part: str) -> float:
    result = m.main.result
    return float(result.parts_ps[:, result.parts.index(part)].mean()) / PS_PER_US


def _part_column(part: str, what: str) -> Column[ChipMeasurement]:
    return number(
        f"latency_{part}_us",
        "us",
        f"Mean time per token {what}; {AT_BATCH}.",
        lambda m: _part_us(m, part),
    )


def speed_columns(batches: Sequence[int]) -> tuple[Column[ChipMeasurement], ...]:
    """Return the columns of speed.

    Args:
        batches: decode batch sizes, each with columns of its own.
    """
    return (
        number("prefill_tokens_per_s", "token/s",
               "Tokens over the makespan of prefill, from an empty chip to an empty chip.",
               lambda m: m.before.prefill.tokens_per_s, better="higher"),
        number("ttft_p50_us", "us",
               "Time from a window's entry to its last token's completion in prefill, median.",
               lambda m: _us(m.before.prefill.result.ttft_ps, 50),
               better="lower"),
        *(column for batch in batches for column in _batch_columns(batch)),
        count("latency_batch", "sequence", "Batch size of the columns that name none.",
              lambda m: m.main.batch),
        *with_calibrated(number("latency_p50_us", "us", f"Time per token, median; {AT_BATCH}.",
                                lambda side: _tpot_us(side.main, 50), better="lower")),
        *with_calibrated(
            number("latency_p99_us", "us", f"Time per token, 99th percentile; {AT_BATCH}.",
                   lambda side: _tpot_us(side.main, 99), FEW, better="lower")
        ),
        number("latency_mean_us", "us", f"Time per token, mean; {AT_BATCH}.",
               lambda m: float(m.main.result.latency_ps.mean()) / PS_PER_US),
        *(_part_column(part, what) for part, what in LATENCY_PARTS.items()),
        *with_calibrated(
            number("tokens_per_s", "token/s",
                   f"Tokens over the makespan, from an empty chip to an empty chip; {AT_BATCH}.",
                   lambda side: side.main.tokens_per_s, better="higher")
        ),
        number("makespan_us", "us", f"Time from start to drained; {AT_BATCH}.",
               lambda m: m.main.result.makespan_ps / PS_PER_US),
        text("network_model",
             "Level of the network that served (noc.level), and for the packet level the error of "
             f"the mean latency in its range, or why a run out of range kept it; {AT_BATCH}.",
             lambda m: m.main.result.network),
        text("critical_resource", f"Busiest resource; {AT_BATCH}.",
             lambda m: m.main.result.critical_resource),
        number("critical_resource_utilisation", "1",
               f"Its busy time over the makespan; {AT_BATCH}.",
               lambda m: m.main.utilisation, maximum=1.0),
    )  # fmt: skip
