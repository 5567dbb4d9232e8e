"""Folded forms of a chip's matrices as they are read: written when asked for, some of them kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cimsim.backends.torch.experts import FoldedExperts, TwinExperts, Visits
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.lone import LoneFolded
from cimsim.backends.torch.memory import Kept
from cimsim.backends.torch.order import Order
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.stack import FoldedStack, write_stack
from cimsim.backends.torch.terms import terms_of
from cimsim.model.linear import ExpertCall

__all__ = ["Forms", "serve"]

Three = tuple[Order, Order, Order]


@dataclass
class Forms:
    """Folded forms by what they are written from; some of them are kept.

    Attributes:
        kept: keeps them.
        later: looks at what kernels found wrong.
    """

    kept: Kept
    later: Later = field(default_factory=Later)
    _joined_in: dict[Order, _Among] = field(default_factory=dict, repr=False)
    _known: dict[Order, tuple[bool, float]] = field(default_factory=dict, repr=False)

    def clear(self) -> None:
        """Let go of every form, and of what is known of it."""
        self.kept.clear()
        self._joined_in.clear()
        self._known.clear()

    def known(self, order: Order) -> tuple[bool, float]:
        """Return whether a matrix folds faithfully, and the level of its cells; found once."""
        if order not in self._known and not self.lone(order).faithful:
            self.kept.drop(_Group((order,)))  # it is not read
        return self._known[order]

    def lone(self, order: Order) -> LoneFolded:
        """Return a matrix by itself: a part of its layer's experts where those are kept."""
        place = self._joined_in.get(order)
        joined: _Joined | None = None if place is None else self.kept.known(place.key)
        if place is not None and joined is not None:
            return LoneFolded(joined.experts.part(place.expert, place.role), self.later)
        found: LoneFolded = self._get(
            _Group((order,)),
            lambda: LoneFolded(write_stack([order], None, self._known), self.later),
        )
        self._known[order] = found.faithful, found.level
        return found

    def stack(self, orders: Sequence[Order]) -> FoldedStack:
        """Return matrices of one shape that fold faithfully, in this order."""
        group = _Group(tuple(orders), as_stack=True)
        found: FoldedStack = self._get(group, lambda: write_stack(orders, None, self._known))
        return found

    def experts(self, orders: Mapping[int, Three]) -> tuple[FoldedExperts | None, list[int]]:
        """Return the experts of a layer that fold faithfully, together, and which they are."""
        known = self._known
        if not all(o in known for three in orders.values() for o in three):
            # Kept only if all of them are read together: else their room is for those that are.
            found = _joined(list(orders.values()), self._known, self.later)
            for three, fine, levels in zip(
                orders.values(), found.faithful, found.experts.levels, strict=True
            ):
                known.update(zip(three, zip(fine, levels, strict=True), strict=True))
            if all(fine for three in found.faithful for fine in three):
                self._join(_Group.of(orders.values()), lambda: found)
        fold = [e for e in orders if all(known[o][0] for o in orders[e])]
        if not fold:
            return None, fold
        chosen = [orders[e] for e in fold]
        joined = self._join(_Group.of(chosen), lambda: _joined(chosen, known, self.later))
        return joined.experts, fold

    def _join(self, group: _Group, make: Callable[[], _Joined]) -> _Joined:
        """Return experts together, kept; each of their matrices is a part of them from now on."""

        def made() -> _Joined:
            for i, order in enumerate(group.orders):
                self._joined_in[order] = _Among(group, i // 3, i % 3)
            return make()

        joined: _Joined = self._get(group, made)
        return joined

    def _get(self, group: _Group, make: Callable[[], Any]) -> Any:
        comes = sum(2 * o.writer.formats.n_in * o.writer.formats.n_out for o in group.orders)
        return self.kept.get(group, comes, make)


@dataclass(frozen=True)
class _Group:
    """Matrices that are kept together; some hundred, so that their hash is found once.

    Attributes:
        orders: what they are written from.
        as_stack: kept as `Forms.stack` returns them.
    """

    orders: tuple[Order, ...]
    as_stack: bool = False

    @classmethod
    def of(cls, experts: Iterable[Three]) -> _Group:
        """Return gate, up and down of some experts."""
        return cls(tuple(order for three in experts for order in three))

    @cached_property
    def _hash(self) -> int:
        return hash(self.orders)

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True)
class _Among:
    """Where a matrix is among experts that are kept together: gate (0), up (1) or down (2)."""

    key: _Group
    expert: int
    role: int


@dataclass(frozen=True)
class _Joined:
    experts: FoldedExperts
    faithful: tuple[tuple[bool, bool, bool], ...]


def _joined(
    orders: Sequence[Three], known: Mapping[Order, tuple[bool, float]], later: Later
) -> _Joined:
    """Write experts: gates above ups in one tensor, downs in another."""
    formats = orders[0][0].writer.formats
    width, device = formats.n_out, orders[0][0].device
    shape = (len(orders), 2 * width, formats.n_in)
    weight = torch.empty(shape, dtype=torch.bfloat16, device=device)
    gates = write_stack([three[0] for three in orders], weight[:, :width], known)
    ups = write_stack([three[1] for three in orders], weight[:, width:], known)
    down = write_stack([three[2] for three in orders], None, known)
    first = gates.above(ups, weight)
    words = list(zip(gates.words, ups.words, strict=True))
    faithful = tuple(zip(gates.faithful, ups.faithful, down.faithful, strict=True))
    levels = list(zip(gates.level, ups.level, down.level, strict=True))
    if device.type == "cuda":
        from cimsim.backends.torch.fused_experts import FusedExperts  # noqa: PLC0415 - Triton

        return _Joined(FusedExperts(first, words, down, levels, later), faithful)
    return _Joined(TwinExperts(first, words, down, levels, later), faithful)


def serve(
    forms: Forms,
    orders: Mapping[int, Three],
    call: ExpertCall,
    tokens: Tokens,
    read_seed: int,
) -> tuple[Tensor, dict[int, tuple[float, float, float]]] | None:
    """Return the sum of the experts that fold, and the level of the cells of each; or None."""
    if any(m.id in call.low_rank for e in orders for m in call.experts[e][:2]):
        return None  # low-rank terms of gates and ups are not served together
    experts, chosen = forms.experts(orders)
    if experts is None:
        return None
    terms = terms_of(call, chosen, tokens[0].device)
    x: Any = call.x
    visits = Visits.of(call.routing.experts, call.routing.gates, chosen, x.device)
    total = experts.multiply(x, visits, tokens, terms, read_seed=read_seed)
    return total, dict(zip(chosen, experts.levels, strict=True))
