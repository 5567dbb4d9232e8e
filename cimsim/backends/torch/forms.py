"""Folded forms of a chip's matrices as they are read: written when asked for, some of them kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.experts import FoldedExperts, Terms, TwinExperts, Visits
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.lone import LoneFolded
from cimsim.backends.torch.memory import Kept
from cimsim.backends.torch.order import Order
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import sent
from cimsim.backends.torch.stack import write_stack
from cimsim.model.linear import ExpertCall
from cimsim.workload.matrix import MatrixId

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
    """Matrices that are kept together; some hundred, so that their hash is found once."""

    orders: tuple[Order, ...]

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


def _terms_of(call: ExpertCall, chosen: Sequence[int], device: torch.device) -> Terms:
    """Return the digital corrections of some experts; low-rank terms are those of downs alone."""
    matrices = [[m.id for m in call.experts[e]] for e in chosen]
    columns = down = None
    if any(m in call.columns for three in matrices for m in three):
        shapes = [(m.n_in, m.n_out) for m in call.experts[chosen[0]]]
        per_role = [
            _columns_of(call, [three[role] for three in matrices], shapes[role][1], device)
            for role in range(3)
        ]
        first = [torch.stack([per_role[0][i], per_role[1][i]], 1) for i in range(2)]
        columns = (first[0], first[1]), (per_role[2][0], per_role[2][1])
    if any(three[2] in call.low_rank for three in matrices):
        down = _low_rank_of(call, [three[2] for three in matrices], device)
    trims = None
    if any(m in call.trims for three in matrices for m in three):
        gate, up, last = (
            _registers_of(call, [three[role] for three in matrices], n_out, device)
            for role, n_out in enumerate(m.n_out for m in call.experts[chosen[0]])
        )
        trims = (torch.stack([gate[0], up[0]], 1), torch.stack([gate[1], up[1]], 1)), last
    return Terms(columns, down, trims)


def _registers_of(
    call: ExpertCall, matrices: Sequence[MatrixId], n_out: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return gains and offsets, [experts, n_out]; 1 and 0 where a copy has no registers."""
    none = torch.ones(n_out, device=device), torch.zeros(n_out, device=device)
    known = [call.trims.get(matrix) for matrix in matrices]
    both: list[tuple[Any, Any]] = [none if r is None else (r.gain, r.offset) for r in known]
    return torch.stack([g for g, _ in both]), torch.stack([o for _, o in both])


def _columns_of(
    call: ExpertCall, matrices: Sequence[MatrixId], n_out: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return scales and offsets, [experts, n_out]; 1 and 0 where there is no correction."""
    scale = np.ones((len(matrices), n_out), dtype=np.float32)
    offset = np.zeros_like(scale)
    for row, matrix in enumerate(matrices):
        if matrix in call.columns:
            scale[row], offset[row] = call.columns[matrix].scale, call.columns[matrix].offset
    return sent(scale, device), sent(offset, device)


def _low_rank_of(
    call: ExpertCall, matrices: Sequence[MatrixId], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return factors [experts, width, rank] and [experts, rank, d_model]; 0 without."""
    known = [call.low_rank.get(matrix) for matrix in matrices]
    rank = max(term.u.shape[1] for term in known if term is not None)
    some = next(term for term in known if term is not None)
    u = np.zeros((len(known), some.u.shape[0], rank), dtype=np.float32)
    v = np.zeros((len(known), rank, some.v.shape[1]), dtype=np.float32)
    for row, term in enumerate(known):
        if term is not None:
            u[row, :, : term.u.shape[1]], v[row, : term.v.shape[0]] = term.u, term.v
    return sent(u, device), sent(v, device)


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
    if any(registers.top is not None for registers in call.trims.values()):
        return None  # nor static scales
    experts, chosen = forms.experts(orders)
    if experts is None:
        return None
    terms = _terms_of(call, chosen, tokens[0].device)
    x: Any = call.x
    visits = Visits.of(call.routing.experts, call.routing.gates, chosen, x.device)
    total = experts.multiply(x, visits, tokens, terms, read_seed=read_seed)
    return total, dict(zip(chosen, experts.levels, strict=True))
