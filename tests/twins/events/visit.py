"""Expert visits: groups of a flight's tokens that one site serves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from cimsim.engine.plan import Plan
from cimsim.engine.raw import VISIT_PARTS
from tests.twins.events.replicas import ReplicaChoice

__all__ = ["Visit", "VisitMaker"]

NONE = -1
WORD_BITS = 64


class Visit:
    """One group of tokens on its way to, through and back from one site.

    Attributes:
        flight: whose tokens.
        site: where they are served; -1 until a switched expert has a slot.
        expert: expert id if the expert lives in slots, else -1.
        size: tokens.
        mask: uint64 words, which tokens of the flight.
        asked_ps: when the visit began to wait for what it waits for.
        tail_ps: when the last input arrives.
        first_ps, finish_ps: when the first and the last result are ready.
        parts: latency so far by part: queue, compute, noc, dram, write, adc.
    """

    __slots__ = (
        "arrived_ps", "asked_ps", "expert", "finish_ps", "first_ps", "flight", "mask", "parts",
        "site", "size", "tail_ps",
    )  # fmt: skip

    def __init__(
        self, flight: int, site: int, expert: int, size: int, mask: int, words: int, asked_ps: int
    ) -> None:
        self.flight = flight
        self.site = site
        self.expert = expert
        self.size = size
        low = (1 << WORD_BITS) - 1
        self.mask = np.array(
            [(mask >> (WORD_BITS * w)) & low for w in range(words)], dtype=np.uint64
        )
        self.asked_ps = asked_ps
        self.parts = [0] * VISIT_PARTS
        self.arrived_ps = self.tail_ps = self.first_ps = self.finish_ps = 0


class VisitMaker:
    """Groups the tokens of a flight by the site that serves them.

    Args:
        plan: what runs.
        replicas: chooses among copies.
    """

    def __init__(self, plan: Plan, replicas: ReplicaChoice) -> None:
        self._replicas = replicas
        flights = plan.flights
        self._first, self._size = flights.first.tolist(), flights.size.tolist()
        self._experts = plan.experts
        self._n_experts = plan.n_experts
        pointer = plan.copies.group_ptr.tolist()
        self._groups = [plan.copies.group_sites[a:b].tolist() for a, b in pairwise(pointer)]
        pointer = plan.copies.expert_ptr.tolist()
        self._expert_sites = [plan.copies.expert_sites[a:b].tolist() for a, b in pairwise(pointer)]
        self._step_group = plan.step.group.tolist()
        self._step_moe = plan.step.moe.tolist()
        self._step_shared = plan.step.shared.tolist()
        self._words = plan.transport.words
        self._n_sites = plan.sites.count
        widest = int(np.diff(plan.sites.in_ptr).max(initial=1))
        copies = max([1, *(len(s) for s in (*self._groups, *self._expert_sites))])
        # No stage has more visits than tokens x experts per token, or than sites.
        most = max(self._size) * (plan.experts.shape[2] + 1)
        self.most_visits = min(most, plan.n_experts * copies + copies) + copies
        self.most_targets = self.most_visits * widest

    def make(self, flight: int, step: int, now_ps: int) -> list[Visit]:
        """Return the visits of a flight's analog stage, in order of their first token."""
        masks: dict[int, int] = {}
        sizes: dict[int, int] = {}
        first, size = self._first[flight], self._size[flight]
        if self._step_moe[step] != NONE:
            base = self._step_moe[step] * self._n_experts
            rows = self._experts[first : first + size, self._step_moe[step]].tolist()
            for i, row in enumerate(rows):
                bit = 1 << i
                for expert in row:
                    sites = self._expert_sites[base + expert]
                    # Experts in slots are keyed behind the sites: their site may change.
                    at = (
                        self._replicas.choose(sites, first + i, now_ps)
                        if sites
                        else self._n_sites + base + expert
                    )
                    masks[at] = masks.get(at, 0) | bit
                    sizes[at] = sizes.get(at, 0) + 1
        for group in (self._step_group[step], self._step_shared[step]):
            if group != NONE:
                sites = self._groups[group]
                for i in range(size):
                    at = self._replicas.choose(sites, first + i, now_ps)
                    masks[at] = masks.get(at, 0) | (1 << i)
                    sizes[at] = sizes.get(at, 0) + 1
        return [self._visit(flight, at, sizes[at], mask, now_ps) for at, mask in masks.items()]

    def _visit(self, flight: int, at: int, size: int, mask: int, now_ps: int) -> Visit:
        fixed = at < self._n_sites
        site, expert = (at, NONE) if fixed else (NONE, at - self._n_sites)
        return Visit(flight, site, expert, size, mask, self._words, now_ps)
