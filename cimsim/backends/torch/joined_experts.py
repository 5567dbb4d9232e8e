"""The routed experts of a layer that are read together: folded ones, then those in detail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cimsim.backends.torch.copies import Reading, TorchCopy
from cimsim.backends.torch.detailed_experts import How, Three, read_experts
from cimsim.backends.torch.forms import serve
from cimsim.backends.torch.order import Order
from cimsim.mac.statistics import MatrixCounts, exact_share
from cimsim.model import ExpertCall

__all__ = ["join_experts"]


def join_experts(
    reading: Reading, copies: Mapping[int, tuple[Any, ...]], call: ExpertCall, how: How
) -> tuple[Any, frozenset[int]] | None:
    """Return the sum of some experts by gates, and which; None where none are joined.

    In detail a device alone reads them together, in `fast`: what it gains is launches.

    Args:
        reading: how copies are read.
        copies: gate, up and down of experts that have one copy each.
        call: the products.
        how: this pass reads them.
    """
    ours: dict[int, Three] = {
        number: (three[0], three[1], three[2])
        for number, three in sorted(copies.items())
        if all(isinstance(copy, TorchCopy) for copy in three)
    }
    if any(registers.top is not None for registers in call.trims.values()):
        return None  # static scales are not read together
    found = _join_folded(reading, ours, call, how) if how.mode == "folded" else None
    total, served = (None, frozenset[int]()) if found is None else found
    rest = {number: three for number, three in ours.items() if number not in served}
    if rest and reading.device.type == "cuda" and reading.precision == "fast":
        more = read_experts(rest, call, reading, how)
        total, served = more if total is None else total + more, served | rest.keys()
    return None if total is None else (total, served)


def _join_folded(
    reading: Reading, copies: Mapping[int, Three], call: ExpertCall, how: How
) -> tuple[Any, frozenset[int]] | None:
    """Return the sum of the experts whose folded forms are one stack, and which."""
    orders: dict[int, tuple[Order, Order, Order]] = {}
    for number, (gate, up, down) in copies.items():
        if gate.order and up.order and down.order:
            orders[number] = (gate.order, up.order, down.order)
    if not orders:
        return None
    found = serve(reading.forms, orders, call, reading.tokens(call.tokens), how.read_seed)
    if found is None:
        return None
    total, levels = found
    if how.statistics is not None:
        visits = np.bincount(call.routing.experts.ravel(), minlength=len(call.experts))
        for number, of_cells in levels.items():
            n = int(visits[number])
            for matrix, level in zip(call.experts[number], of_cells, strict=True):
                counts = MatrixCounts(vectors=n, level_fraction_sum=n * exact_share(level))
                if n:
                    how.statistics.add(matrix.id, counts)
    return total, frozenset(levels)
