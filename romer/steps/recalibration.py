"""Percentile-based recalibration of router logits (our readings R1 to R4 of ROMER).

With quartiles Q1, Q3 and IQR = Q3 - Q1:
R1 clamps each token's logits to [Q1 - lambda IQR, Q3 + lambda IQR];
R2 adds lambda IQR to the logits of rank <= k and subtracts it from the others;
R3 subtracts lambda IQR from over-used experts and adds it to under-used ones;
R4 maps each expert's noisy median and IQR onto its clean ones,
   z' = med_c + (z - med_n) r, r = IQR_c / IQR_n kept between 1/4 and 4;
the quantile map carries R4 on to all percentiles.

Where a coarse or clipping converter lets a column's quartiles fall together, IQR_n says nothing of
its gain, and a ratio without a bound multiplies what noise is left: perplexity rose by up to ten
times. Common gains of 1/4 to 4 are what uncompensated chips reach (`cimsim.mac.devices.eflash`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction, QuantileMap
from romer.record import Routers
from romer.registry import Number, register_step
from romer.task import Task

__all__ = ["clamp", "load_bias", "margin", "match_percentiles", "quantile_map"]

CLAMP_LAMBDA = 1.5
MARGIN_LAMBDA = 0.1
BIAS_LAMBDA = 0.05
LAMBDA = Number("lambda, in IQR", 0.0, 100.0)
TINY = 1e-12  # below any range of logits
MOST_RATIO = 4.0  # of R4's quartile ranges, and its inverse the least
QUANTILES = np.linspace(0.02, 0.98, 25)

Floats = NDArray[np.float64]


@register_step("clamp_r1", LAMBDA)
def clamp(
    task: Task, correction: Correction, routers: Routers, amount: float = CLAMP_LAMBDA
) -> Correction:
    """R1: clamp each token's logits to its own quartiles plus a reach."""
    del task
    return replace(correction, router_clamp=dict.fromkeys(routers().logits, amount))


@register_step("margin_r2", LAMBDA)
def margin(
    task: Task, correction: Correction, routers: Routers, amount: float = MARGIN_LAMBDA
) -> Correction:
    """R2: widen the margin between chosen and other experts of each token."""
    del task
    return replace(correction, router_margin=dict.fromkeys(routers().logits, amount))


@register_step("bias_r3", LAMBDA)
def load_bias(
    task: Task, correction: Correction, routers: Routers, amount: float = BIAS_LAMBDA
) -> Correction:
    """R3: a bias against over-used experts and for under-used ones, in units of IQR."""
    scale, offset = dict(correction.router_scale), dict(correction.router_offset)
    for layer, logits in routers().logits.items():
        low, high = np.quantile(logits.astype(np.float64), [0.25, 0.75], axis=1)
        shift = amount * float(np.mean(high - low))
        sign = np.sign(task.reference.fit.load[layer] - routers().load[layer])
        known = offset.get(layer, np.zeros(logits.shape[1], dtype=np.float32))
        offset[layer] = (known + shift * sign).astype(np.float32)
    return replace(correction, router_scale=scale, router_offset=offset)


@register_step("match_r4")
def match_percentiles(task: Task, correction: Correction, routers: Routers) -> Correction:
    """R4: give every expert's logits the median and IQR that they have without noise."""
    scale, offset = {}, {}
    for layer, logits in routers().logits.items():
        low_c, mid_c, high_c = _quartiles(task.reference.fit.logits[layer])
        low_n, mid_n, high_n = _quartiles(logits)
        clean, noisy = high_c - low_c, high_n - low_n
        ratio = clean / np.maximum(noisy, np.maximum(clean / MOST_RATIO, TINY))
        ratio = np.maximum(ratio, 1.0 / MOST_RATIO)
        scale[layer] = ratio.astype(np.float32)
        offset[layer] = (mid_c - mid_n * ratio).astype(np.float32)
    return replace(correction, router_scale=scale, router_offset=offset, router_refit={})


@register_step("quantile_map")
def quantile_map(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Map every percentile of an expert's noisy logits onto its clean one."""
    maps = {}
    for layer, logits in routers().logits.items():
        x = np.quantile(logits.astype(np.float64), QUANTILES, axis=0).T
        y = np.quantile(task.reference.fit.logits[layer].astype(np.float64), QUANTILES, axis=0).T
        # Knots must rise strictly: ties of a coarse converter are pulled apart a little.
        x = x + np.arange(len(QUANTILES)) * 1e-6 * (1.0 + np.ptp(x, axis=1, keepdims=True))
        maps[layer] = QuantileMap(x.astype(np.float32), y.astype(np.float32))
    return replace(correction, router_quantiles=maps)


def _quartiles(logits: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    low, mid, high = np.quantile(logits.astype(np.float64), [0.25, 0.5, 0.75], axis=0)
    return low, mid, high
