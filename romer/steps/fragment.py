"""The fragment IQR = Q3(z) - Q1(z), z_cal = z_sorted +- lambda IQR, in every parsing that we see.

Seen second hand; signs, ranges and what is sorted are unknown (ROMER, arXiv 2605.11800). What may
be sorted: the logits of a token over experts, those of an expert over tokens, or the experts. What
+- may mean: apart (the upper ones rise, the lower ones fall), together, or a fence (an interval
that values are kept in).

====================  ==================  ==================  ==============================
sorted                apart               together            fence
====================  ==================  ==================  ==============================
a token, experts      `margin_r2`         not possible        `clamp_r1`
an expert, tokens     `fragment_apart`    `fragment_together` `fragment_fence`
experts, by load      more skewed         `bias_r3`           `load_match` asks for the load
experts, by median    more skewed         `fragment_rank`     the same
====================  ==================  ==================  ==============================

Together over the experts of a token would choose those that its router ranks last as soon as it
changed anything; apart over experts takes the load further from balance, against the paper's words.
With med, Q1, Q3 of an expert's logits on FIT text and d = z - med::

    apart      z' = z + lambda IQR sign(d)
    together   z' = med + sign(d) max(|d| - lambda IQR, 0)
    fence      z' = clip(z, Q1 - lambda IQR, Q3 + lambda IQR)
    rank       z' = z - lambda IQR(medians) sign(rank of the median - (E - 1) / 2)

The first three are monotone maps of each expert (`QuantileMap`); apart jumps at the median, within
a thousandth of the quartile range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction, QuantileMap
from romer.record import Routers
from romer.registry import Number, register_step
from romer.task import Task

__all__ = ["affine_logits", "fence", "pull_apart", "pull_together", "rank_bias"]

LAMBDA = Number("lambda, in IQR", 0.0, 100.0)
JUMP = 1e-3  # width of a jump over the quartile range
FAR = 1e4  # quartile ranges beyond a fence: further than any logit
NARROW = 1e-3  # a quartile range below this share of the median's size is taken as this wide

Floats = NDArray[np.float64]
_Knots = tuple[list[Floats], list[Floats]]  # logits, and what becomes of them


class _Quartiles(NamedTuple):
    """Of every expert's logits, float64 [experts]; `wide` is what their range counts as."""

    low: Floats
    mid: Floats
    high: Floats
    wide: Floats


@register_step("fragment_apart", LAMBDA)
def pull_apart(
    task: Task, correction: Correction, routers: Routers, amount: float = 0.05
) -> Correction:
    """Raise logits above their expert's median by lambda IQR, lower those below it."""
    del task

    def knots(q: _Quartiles) -> _Knots:
        x = [q.mid - q.wide, q.mid - JUMP * q.wide, q.mid + JUMP * q.wide, q.mid + q.wide]
        shift = amount * (q.high - q.low)
        return x, [x[0] - shift, x[1] - shift, x[2] + shift, x[3] + shift]

    return _mapped(correction, routers, knots)


@register_step("fragment_together", LAMBDA)
def pull_together(
    task: Task, correction: Correction, routers: Routers, amount: float = 0.05
) -> Correction:
    """Bring logits nearer to their expert's median by lambda IQR, at most onto it."""
    del task

    def knots(q: _Quartiles) -> _Knots:
        mid, wide = q.mid, q.wide
        reach = np.maximum(amount * (q.high - q.low), JUMP * wide)
        x = [mid - reach - wide, mid - reach, mid + reach, mid + reach + wide]
        return x, [mid - wide, mid, mid, mid + wide]

    return _mapped(correction, routers, knots)


@register_step("fragment_fence", LAMBDA)
def fence(task: Task, correction: Correction, routers: Routers, amount: float = 1.5) -> Correction:
    """Keep every expert's logits within its quartiles plus and minus lambda IQR."""
    del task

    def knots(q: _Quartiles) -> _Knots:
        reach = amount * (q.high - q.low)
        bottom = q.low - reach
        top = np.maximum(q.high + reach, bottom + JUMP * q.wide)
        x = [bottom - FAR * q.wide, bottom, top, top + FAR * q.wide]
        return x, [bottom, bottom, top, top]

    return _mapped(correction, routers, knots)


@register_step("fragment_rank", LAMBDA)
def rank_bias(
    task: Task, correction: Correction, routers: Routers, amount: float = 0.05
) -> Correction:
    """Lower the experts of the upper half of medians by lambda IQR, raise those of the lower."""
    del task
    offset = dict(correction.router_offset)
    for layer, logits in routers().logits.items():
        medians = np.median(affine_logits(correction, layer, logits), axis=0)
        low, high = np.quantile(medians, [0.25, 0.75])
        rank = np.argsort(np.argsort(medians, kind="stable"), kind="stable")
        sign = np.sign(rank - (len(medians) - 1) / 2)
        known = offset.get(layer, np.zeros(len(medians), dtype=np.float32))
        offset[layer] = (known - amount * (high - low) * sign).astype(np.float32)
    return replace(correction, router_offset=offset)


def affine_logits(correction: Correction, layer: int, logits: NDArray[np.float32]) -> Floats:
    """Return logits behind the scale and offset that a correction has for them, float64."""
    z = logits.astype(np.float64)
    if layer in correction.router_scale:
        z = z * correction.router_scale[layer]
    if layer in correction.router_offset:
        z = z + correction.router_offset[layer]
    return z


def _mapped(
    correction: Correction, routers: Routers, knots: Callable[[_Quartiles], _Knots]
) -> Correction:
    """Return a correction with a map of each expert; a known quantile map is replaced."""
    maps = {}
    for layer, logits in routers().logits.items():
        z = affine_logits(correction, layer, logits)
        low, mid, high = np.quantile(z, [0.25, 0.5, 0.75], axis=0)
        wide = np.maximum(high - low, NARROW * (1.0 + np.abs(mid)))
        found = knots(_Quartiles(low, mid, high, wide))
        x, y = (np.stack(side, axis=1).astype(np.float32) for side in found)
        maps[layer] = QuantileMap(x, y)
    return replace(correction, router_quantiles=maps)
