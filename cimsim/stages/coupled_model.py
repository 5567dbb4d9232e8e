"""The model of one chip in one phase, as the engine drives it: the walk of its tokens.

`CoupledModel` answers the reference engine: it takes each flight through the decoder stage
by stage and computes a visit's products when the visit is served, on the crossbars as they
are at that moment.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cimsim.engine import Plan, Visit, rows_of_visit
from cimsim.errors import CimsimInternalError
from cimsim.model import Correction, Decoder, KVCache, ScoreResult, Stage, StreamMemory, Walk
from cimsim.stages.timed_linear import TimedLinear
from cimsim.workload.program import Program, TokenKeys
from cimsim.workload.trace import RoutingTrace

__all__ = ["CoupledModel", "Windows"]

NONE = -1
Windows = NDArray[np.int64]


class CoupledModel:
    """The model of one chip in one phase; `Numbers` of the reference engine.

    Args:
        plan: what the engine runs; its routing is filled in.
        program: of the model.
        decoder: the model.
        linear: products of the chip in time.
        correction: what calibration changed.
        windows: int64 [windows, context], the tokens of the plan's trace in order.
        served: parts of the model on tiles.
        past: caches of whole sequences that streams starting within one continue.
        progress: told the share of tokens that are through.
    """

    def __init__(
        self,
        plan: Plan,
        program: Program,
        decoder: Decoder,
        linear: TimedLinear,
        correction: Correction | None,
        windows: Windows,
        served: frozenset[str],
        past: dict[int, KVCache],
        progress: Callable[[float], None],
    ) -> None:
        self._progress, self._through = progress, 0
        self._plan, self._program, self._decoder = plan, program, decoder
        self._linear, self._served, self._past = linear, served, past
        self._stepper = decoder.stepper(linear, correction=correction)
        context = windows.shape[1]
        tokens = windows.size
        self._ids = windows.reshape(-1)
        self._keys = TokenKeys(
            np.repeat(np.arange(len(windows), dtype=np.int64), context),
            np.tile(np.arange(context, dtype=np.int64), len(windows)),
        )
        self._following = np.full(tokens, NONE, dtype=np.int64)
        within = self._keys.position < context - 1
        self._following[within] = self._ids[np.flatnonzero(within) + 1]
        self._walks: dict[int, Walk] = {}
        self._streams: dict[int, StreamMemory] = {}
        self._left = np.diff(plan.flights.stream_ptr)
        self.caches: dict[int, KVCache] = {}
        self._nll = np.full(tokens, np.nan)
        shape = (tokens, len(program.moe_layers), program.top_k)
        self._experts = np.full(shape, NONE, dtype=np.int16)
        self._gates = np.zeros(shape, dtype=np.float32)
        self._targets = _targets(plan, program)
        self._site = _sites(plan)
        self._slot = {int(site): slot for slot, site in enumerate(plan.slots.site)}

    def stage(self, flight: int, step: int) -> None:
        """Compute what is digital before a step's visits; say where its tokens go."""
        walk = self._walks.get(flight) or self._start(flight)
        layer, stage, visited = self._targets[step]
        walk.advance(layer, stage, visited=visited)
        rows = self._rows(flight)
        moe = int(self._plan.step_moe[step])
        if moe != NONE:
            self._plan.experts[rows, moe] = walk.routings[moe].experts
        if step == len(self._targets) - 1:
            self._finish(flight, walk, rows)

    def serve(self, visit: Visit, start_ps: int) -> None:
        """Compute the rows of a visit as the crossbars of its site are at `start_ps`."""
        walk = self._walks[visit.flight]
        rows = rows_of_visit(visit)
        if visit.expert != NONE:
            expert = self._plan.expert_units[visit.expert].expert
            self._linear.serve(start_ps, 0, self._slot[visit.site])
            walk.serve("experts", rows, expert)
            return
        part, expert, replica = self._site[visit.site]
        self._linear.serve(start_ps, replica)
        walk.serve(part, rows, expert)

    def written(self, slot: int, expert: int, end_ps: int) -> None:
        """Note that a slot holds an expert anew."""
        self._linear.written(slot, self._plan.expert_units[expert], end_ps)

    def score(self) -> ScoreResult:
        """Return the numbers of the phase; tokens that are not scored have no entry."""
        context = int(self._keys.position[-1]) + 1
        if np.isnan(self._nll[self._following >= 0]).any():
            raise CimsimInternalError("a coupled run left tokens without a score")
        nll = self._nll.reshape(-1, context)[:, :-1]
        trace = RoutingTrace(self._experts, *self._keys, self._program.n_experts)
        return ScoreResult(nll, self._experts, self._gates, trace)

    def _rows(self, flight: int) -> slice:
        first = int(self._plan.flights.first[flight])
        return slice(first, first + int(self._plan.flights.size[flight]))

    def _start(self, flight: int) -> Walk:
        """Let a flight enter."""
        flights, rows = self._plan.flights, self._rows(flight)
        stream = int(flights.stream[flight])
        memory = self._streams.get(stream)
        if memory is None:
            memory = self._streams[stream] = self._memory(stream)
        walk = self._walks[flight] = Walk(
            self._stepper,
            self._decoder.architecture,
            self._ids[rows],
            self._following[rows],
            TokenKeys(self._keys.sequence[rows], self._keys.position[rows]),
            memory,
            self._served,
        )
        return walk

    def _memory(self, stream: int) -> StreamMemory:
        """Return the keys and values that a stream starts with."""
        flights = self._plan.flights
        first, last = flights.stream_ptr[stream], flights.stream_ptr[stream + 1] - 1
        token, end = int(flights.first[first]), self._rows(int(last)).stop
        sequence, start = int(self._keys.sequence[token]), int(self._keys.position[token])
        cache = self._decoder.new_cache(np.array([sequence]), int(self._keys.position[end - 1]) + 1)
        if start:
            cache.prime(self._past[sequence], sequence, start)
        return StreamMemory(cache, len(self._program.layers))

    def _finish(self, flight: int, walk: Walk, rows: slice) -> None:
        """Take over a flight's results and forget it."""
        self._nll[rows] = walk.nll
        for moe, routing in enumerate(walk.routings):
            self._experts[rows, moe] = routing.experts
            self._gates[rows, moe] = routing.gates
        if self._experts.size:
            self._plan.experts[rows] = self._experts[rows]
        del self._walks[flight]
        self._through += rows.stop - rows.start
        self._progress(self._through / len(self._ids))
        stream = int(self._plan.flights.stream[flight])
        self._left[stream] -= 1
        if not self._left[stream]:
            memory = self._streams.pop(stream)
            if not self._plan.flights.sequential:
                self.caches[int(walk.keys.sequence[0])] = memory.cache


def _targets(plan: Plan, program: Program) -> list[tuple[int, Stage, bool]]:
    """Return the layer and stage that the visits of each step serve, and whether there are any.

    A step without visits ends where flights wait for each other's keys and values, or at
    the end.
    """
    layers = len(program.layers)
    found: list[tuple[int, Stage, bool]] = []
    for number, step in enumerate(plan.steps):
        if step.unit is not None:
            part, name = step.unit
            stage = Stage.ROUTER if part == "router" else Stage.QKV
            found.append((step.layer, Stage.OUT if name == "o" else stage, True))
        elif step.visits:
            found.append((step.layer, Stage.EXPERTS, True))
        elif number == len(plan.steps) - 1:
            found.append((layers + 1, Stage.QKV, False))
        else:
            found.append((step.layer, Stage.ATTEND, False))
    return found


def _sites(plan: Plan) -> dict[int, tuple[str, int, int]]:
    """Return the part, expert and replica of every site that is no slot."""
    found: dict[int, tuple[str, int, int]] = {}
    for pointer, sites, units in (
        (plan.group_ptr, plan.group_sites, plan.group_units),
        (plan.expert_ptr, plan.expert_sites, plan.expert_units),
    ):
        for number, key in enumerate(units):
            copies = sites[pointer[number] : pointer[number + 1]].tolist()
            for replica, site in enumerate(copies):
                found[site] = (key.part, key.expert, replica)
    return found
