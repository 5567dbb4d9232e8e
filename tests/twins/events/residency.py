"""Which experts are resident: slots, who waits for them, and whom a new expert replaces.

Policies: `lru` gives up the free slot used longest ago; `lfu` the one whose expert was used
least often; `pinned` never gives up the hottest experts of the routing, once loaded;
`prefetch` is lru that also loads, when a flight visits a layer, the experts that tokens of
earlier flights most often chose next after the same experts.

Every chip keeps residents of its own: experts live in the slots of one chip, compete for them
with the others that live there, and queue there.

A slot is pinned while visits to its expert are on their way to it, and busy while it is
being loaded. A load takes an empty slot, else the free slot that the policy gives up. When
no slot is free, the expert queues; visits to an expert that is not resident wait at their
digital unit and hold no buffer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from cimsim.engine.plan import Plan
from cimsim.engine.policies import LFU, PINNED
from tests.twins.events.visit import Visit

__all__ = ["Load", "NextLayer", "Residency"]

NONE = -1


@dataclass
class Load:
    """One write of an expert into a slot, with the times of its phases."""

    expert: int
    start_ps: int
    fetched_ps: int
    arrived_ps: int
    write_ps: int = 0
    end_ps: int = 0


class Residency:
    """State of the slots."""

    def __init__(self, plan: Plan) -> None:
        slots = plan.slots
        self.site = slots.site.tolist()
        self.holds = slots.initial.tolist()
        self.slot_of = [NONE] * len(plan.copies.expert_units)
        for slot, expert in enumerate(self.holds):
            if expert != NONE:
                self.slot_of[expert] = slot
        n = len(self.site)
        self.pins = [0] * n
        self.loading: list[Load | None] = [None] * n
        self.last_use = list(range(-n, 0))
        self.policy = slots.policy
        self.hot = slots.hot.tolist()
        self.uses = [0] * len(plan.copies.expert_units)
        self.requests: list[int] = []
        self._clock = 0
        self.waiting: dict[int, list[Visit]] = {}
        self.chip, self.home = slots.chip.tolist(), slots.home.tolist()
        self.slots: list[list[int]] = [[] for _ in range(plan.chips)]
        for slot, chip in enumerate(self.chip):
            self.slots[chip].append(slot)
        self.queues: list[deque[int]] = [deque() for _ in range(plan.chips)]
        self.slot_loads = [0] * n
        self.loads = [0] * len(plan.copies.expert_units)
        self.hits = self.misses = self.stall_ps = 0

    def touch(self, slot: int) -> None:
        """Note a use of a slot."""
        self._clock += 1
        self.last_use[slot] = self._clock

    def hit(self, visit: Visit) -> bool:
        """Pin the slot of a visit's expert if it is resident, else let the visit wait.

        A visit waits in `waiting`; the first one of its expert also has it loaded.
        """
        slot = self.slot_of[visit.expert]
        self.requests.append(visit.expert)
        if slot != NONE and self.loading[slot] is None:
            self.hits += 1
            self.pin(visit, slot)
            return True
        self.misses += 1
        self.waiting.setdefault(visit.expert, []).append(visit)
        return False

    def wanted(self, expert: int) -> bool:
        """Whether an expert must be loaded and nobody asked for it before."""
        return self.slot_of[expert] == NONE and len(self.waiting.get(expert, ())) == 1

    def pin(self, visit: Visit, slot: int) -> None:
        """Send a visit to a slot."""
        visit.site = self.site[slot]
        self.pins[slot] += 1
        self.uses[visit.expert] += 1
        self.touch(slot)

    def victim(self, chip: int) -> int:
        """Return the slot that a chip's next load takes, or -1 if none may be given up."""
        best, best_key = NONE, (0, 0, 0)
        for slot in self.slots[chip]:
            expert, last = self.holds[slot], self.last_use[slot]
            if self.pins[slot] or self.loading[slot] is not None:
                continue
            if self.policy == PINNED and expert != NONE and self.hot[expert]:
                continue
            uses = self.uses[expert] if self.policy == LFU and expert != NONE else 0
            key = (int(expert != NONE), uses, last)
            if best == NONE or key < best_key:
                best, best_key = slot, key
        return best

    def begin(self, slot: int, load: Load) -> None:
        """Give a slot to an expert that will be written into it."""
        if self.holds[slot] != NONE:
            self.slot_of[self.holds[slot]] = NONE
        self.holds[slot] = load.expert
        self.slot_of[load.expert] = slot
        self.loading[slot] = load
        self.loads[load.expert] += 1
        self.slot_loads[slot] += 1

    def end(self, slot: int, now_ps: int) -> list[Visit]:
        """Finish a load: pin and return the visits that waited, their waiting attributed."""
        load = self.loading[slot]
        assert load is not None
        self.loading[slot] = None
        visits = self.waiting.pop(load.expert, [])
        for visit in visits:
            asked = visit.asked_ps
            bounds = (load.start_ps, load.fetched_ps, load.arrived_ps, now_ps)
            # queue, dram, noc, write: the phases of the load, from when the visit asked.
            for part, bound in zip((0, 3, 2, 4), bounds, strict=True):
                visit.parts[part] += max(0, bound - asked)
                asked = max(asked, bound)
            self.stall_ps += now_ps - visit.asked_ps
            self.pin(visit, slot)
        self.touch(slot)
        return visits


class NextLayer:
    """Predicts experts of the next layer from the routing of flights seen so far.

    Args:
        plan: the plan.
    """

    def __init__(self, plan: Plan) -> None:
        layers, self._k = plan.experts.shape[1], plan.experts.shape[2]
        self._experts = plan.experts
        n = plan.n_experts
        self._followed = np.zeros((max(0, layers - 1), n, n), dtype=np.int64)

    def learn(self, first: int, size: int, layer: int) -> None:
        """Count which experts of `layer` followed which of the layer before."""
        for row in self._experts[first : first + size]:
            for before in row[layer - 1].tolist():
                for after in row[layer].tolist():
                    self._followed[layer - 1, before, after] += 1

    def predict(self, first: int, size: int, layer: int) -> list[int]:
        """Return the likeliest experts of the layer after `layer`, best first, at most k."""
        scores = np.zeros(self._followed.shape[2], dtype=np.int64)
        for row in self._experts[first : first + size, layer]:
            for expert in row.tolist():
                scores += self._followed[layer, expert]
        order = np.argsort(-scores, kind="stable")[: self._k]
        return [int(e) for e in order if scores[e] > 0]
