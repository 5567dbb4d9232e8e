"""The model of one chip in one phase, as the engine drives it: its flights of tokens.

`CoupledModel` answers the SimPy scheduler: it takes each flight through the decoder stage
by stage and computes a visit's products when the visit is served, on the crossbars as they
are at that moment.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cimsim.engine import Plan, Visit, rows_of_visit
from cimsim.errors import CimsimInternalError
from cimsim.model import Decoder, Flight, Interpreter, KVCache, ScoreResult, Stream, next_tokens
from cimsim.stages.timed_linear import TimedLinear
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.trace import RoutingTrace

__all__ = ["CoupledModel", "Windows"]

NONE = -1
Windows = NDArray[np.int64]


class CoupledModel:
    """The model of one chip in one phase; `Numbers` of the SimPy scheduler.

    Args:
        plan: what the engine runs; its routing is filled in.
        decoder: the model.
        interpreter: of its program, on the products of `linear`.
        linear: products of the chip in time.
        windows: int64 [windows, context], the tokens of the plan's trace in order.
        past: caches of whole sequences that streams starting within one continue.
        progress: told the share of tokens that are through.
    """

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder,
        interpreter: Interpreter,
        linear: TimedLinear,
        windows: Windows,
        past: dict[int, KVCache],
        progress: Callable[[float], None],
    ) -> None:
        self._progress, self._through = progress, 0
        self._plan, self._decoder, self._interpreter = plan, decoder, interpreter
        self._linear, self._past = linear, past
        self._ids = windows.reshape(-1)
        self._keys = TokenKeys.of_windows(np.arange(len(windows)), windows.shape[1])
        self._following = next_tokens(windows)
        self._flights: dict[int, Flight] = {}
        self._streams: dict[int, Stream] = {}
        self._left = np.diff(plan.flights.stream_ptr)
        self.caches: dict[int, KVCache] = {}
        self._nll = np.full(windows.size, np.nan)
        program = decoder.program
        shape = (windows.size, len(program.moe_layers), program.top_k)
        self._experts = np.full(shape, NONE, dtype=np.int16)
        self._gates = np.zeros(shape, dtype=np.float32)
        self._site = _sites(plan)
        self._slot = {int(site): slot for slot, site in enumerate(plan.slots.site)}

    def stage(self, flight: int, step: int) -> None:
        """Compute what is digital before a step's visits; say where its tokens go."""
        tokens = self._flights.get(flight) or self._start(flight)
        now = self._plan.steps[step]
        # A flight behind may have asked for its keys, which lie beyond a step without visits.
        if now.visits or tokens.at <= now.operation:
            self._interpreter.advance(tokens, now.operation)
        if now.visits:
            self._interpreter.prepare(tokens)
        rows = self._rows(flight)
        moe = int(self._plan.step.moe[step])
        if moe != NONE:
            self._plan.experts[rows, moe] = tokens.routings[moe].experts
        if step == len(self._plan.steps) - 1:
            self._finish(flight, tokens, rows)

    def serve(self, visit: Visit, start_ps: int) -> None:
        """Compute the rows of a visit as the crossbars of its site are at `start_ps`."""
        tokens = self._flights[visit.flight]
        rows = rows_of_visit(visit)
        if visit.expert != NONE:
            expert = self._plan.copies.expert_units[visit.expert].expert
            self._linear.serve(start_ps, 0, self._slot[visit.site])
            self._interpreter.serve(tokens, "experts", rows, expert)
            return
        part, expert, replica = self._site[visit.site]
        self._linear.serve(start_ps, replica)
        self._interpreter.serve(tokens, part, rows, expert)

    def written(self, slot: int, expert: int, end_ps: int) -> None:
        """Note that a slot holds an expert anew."""
        self._linear.written(slot, self._plan.copies.expert_units[expert], end_ps)

    def score(self) -> ScoreResult:
        """Return the numbers of the phase; tokens that are not scored have no entry."""
        context = int(self._keys.position[-1]) + 1
        if np.isnan(self._nll[self._following >= 0]).any():
            raise CimsimInternalError("a coupled run left tokens without a score")
        nll = self._nll.reshape(-1, context)[:, :-1]
        trace = RoutingTrace(self._experts, *self._keys, self._decoder.program.n_experts)
        return ScoreResult(self._gates, trace, nll)

    def _rows(self, flight: int) -> slice:
        first = int(self._plan.flights.first[flight])
        return slice(first, first + int(self._plan.flights.size[flight]))

    def _start(self, flight: int) -> Flight:
        """Let a flight enter."""
        rows, stream = self._rows(flight), int(self._plan.flights.stream[flight])
        if stream not in self._streams:
            self._streams[stream] = self._stream(stream)
        keys = TokenKeys(self._keys.sequence[rows], self._keys.position[rows])
        tokens = self._flights[flight] = Flight(
            self._ids[rows], keys, self._streams[stream], following=self._following[rows]
        )
        return tokens

    def _stream(self, stream: int) -> Stream:
        """Return the keys and values that a stream starts with."""
        flights = self._plan.flights
        first, last = flights.stream_ptr[stream], flights.stream_ptr[stream + 1] - 1
        token, end = int(flights.first[first]), self._rows(int(last)).stop
        sequence, start = int(self._keys.sequence[token]), int(self._keys.position[token])
        cache = self._decoder.new_cache(np.array([sequence]), int(self._keys.position[end - 1]) + 1)
        if start:
            cache.prime(self._past[sequence], sequence, start)
        return Stream(cache)

    def _finish(self, flight: int, tokens: Flight, rows: slice) -> None:
        """Take over a flight's results and forget it."""
        self._nll[rows] = tokens.nll
        record = tokens.record()
        self._experts[rows], self._gates[rows] = record.experts, record.gates
        if self._experts.size:
            self._plan.experts[rows] = self._experts[rows]
        del self._flights[flight]
        self._through += rows.stop - rows.start
        self._progress(self._through / len(self._ids))
        stream = int(self._plan.flights.stream[flight])
        self._left[stream] -= 1
        if not self._left[stream]:
            ended = self._streams.pop(stream)
            if not self._plan.flights.sequential:
                self.caches[int(tokens.keys.sequence[0])] = ended.cache


def _sites(plan: Plan) -> dict[int, tuple[str, int, int]]:
    """Return the part, expert and replica of every site that is no slot."""
    found: dict[int, tuple[str, int, int]] = {}
    for pointer, sites, units in (
        (plan.copies.group_ptr, plan.copies.group_sites, plan.copies.group_units),
        (plan.copies.expert_ptr, plan.copies.expert_sites, plan.copies.expert_units),
    ):
        for number, key in enumerate(units):
            copies = sites[pointer[number] : pointer[number + 1]].tolist()
            for replica, site in enumerate(copies):
                found[site] = (key.part, key.expert, replica)
    return found
