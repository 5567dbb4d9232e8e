"""Figures beside the summary: worst chips, intervals over documents, routing, latency, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.results.statistics import paired_difference
from romer.study.measured import CellMeasurement

__all__ = ["bootstrap_reduction", "detail_row", "mean_of"]

Floats = NDArray[np.float64]
Row = dict[str, Any]

# Documents are about 4 kB, some 1,000 tokens: four windows of 256.
BLOCK_WINDOWS = 4
RESAMPLES = 2000
BOOTSTRAP_KEY = 6_05_11800
# Of single chips: a cell has them where its routing was replayed, else they are empty.
REPLAYED = ("p99_us", "energy_per_token_nj", "tile_max_mean")


def detail_row(m: CellMeasurement, whole: CellMeasurement | None) -> Row:
    """Return the row of details.csv of one cell.

    The change of the loss is that of the treated chip against the same chip untreated, nats
    per token, with the interval of the paired difference over chips.

    Args:
        m: the cell.
        whole: the same cell with every matrix analog, for closures of its gap; or None.
    """
    after = np.exp(m.nll(treated=True))
    low, high = bootstrap_reduction(m.nll_windows(treated=False), m.nll_windows(treated=True))
    closed_ppl, closed_nll = _closure_of_whole(m, whole)
    first_noisy, first = m.noisy[0], m.treated[0]
    change = paired_difference(m.nll(treated=False), m.nll(treated=True)).difference
    return {
        **m.names(),
        "ppl_adc_only": m.shared.get("ppl_adc_only"),
        "loss_change_mean": change.mean,
        "loss_change_ci_low": change.low,
        "loss_change_ci_high": change.high,
        "ppl_calibrated_median": float(np.median(after)),
        "ppl_calibrated_worst": float(after.max()),
        "reduction_text_low": low,
        "reduction_text_high": high,
        "gap_closure_ppl_of_all_analog": closed_ppl,
        "gap_closure_nll_of_all_analog": closed_nll,
        "topk_agreement_noisy": mean_of(m.noisy, "topk_agreement"),
        "topk_agreement_calibrated": mean_of(m.treated, "topk_agreement"),
        "routing_kl_noisy": mean_of(m.noisy, "routing_kl"),
        "routing_kl_calibrated": mean_of(m.treated, "routing_kl"),
        **{f"{name}_noisy": first_noisy.get(name) for name in REPLAYED},
        **{f"{name}_calibrated": first.get(name) for name in REPLAYED},
        "programming_nj": mean_of(m.treated, "programming_nj"),
        "programming_us": mean_of(m.treated, "programming_us"),
    }


def bootstrap_reduction(noisy: Floats, treated: Floats) -> tuple[float, float]:
    """Return a 95 % interval of the cut in perplexity over documents, chips fixed.

    Blocks of neighbouring windows, about a document each, are drawn with replacement.

    Args:
        noisy: [chips, windows], nats.
        treated: [chips, windows], nats.
    """
    gain = (treated - noisy).mean(axis=0)
    blocks = max(1, len(gain) // BLOCK_WINDOWS)
    means = np.array([b.mean() for b in np.array_split(gain, blocks)])
    if len(means) < 2:
        return math.nan, math.nan
    draw = np.random.Generator(np.random.Philox(key=BOOTSTRAP_KEY))
    chosen = draw.integers(len(means), size=(RESAMPLES, len(means)))
    cuts = 1.0 - np.exp(means[chosen].mean(axis=1))
    low, high = np.quantile(cuts, [0.025, 0.975])
    return float(low), float(high)


def _closure_of_whole(m: CellMeasurement, whole: CellMeasurement | None) -> tuple[float, float]:
    """Return the share closed of the gap that the all-analog chips have, ppl and nats."""
    if whole is None:
        return math.nan, math.nan
    after = float(m.nll(treated=True).mean())
    noisy = float(whole.nll(treated=False).mean())
    clean = m.nll_clean
    if noisy <= clean:
        return math.nan, math.nan
    ppl = (math.exp(noisy) - math.exp(after)) / (math.exp(noisy) - math.exp(clean))
    return ppl, (noisy - after) / (noisy - clean)


def mean_of(records: Sequence[Row], key: str) -> float:
    """Return the mean of a figure over chips; nan where one lacks it."""
    values = [r.get(key) for r in records]
    if any(v is None for v in values):
        return math.nan
    return float(np.mean(np.array(values, dtype=np.float64)))
