"""Numbers and time together: the engine drives the model, visit by visit.

`CoupledModel` answers the reference engine: it takes each flight through the decoder stage
by stage and computes a visit's products when the visit is served, on the crossbars as they
are at that moment. `CoupledChip` runs the phases of one chip seed in that way. Prefill is
the scored pass. Decode is teacher-forced on the same text; where a batch is filled with
parts of sequences, a part continues from the keys and values that prefill left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, Placement, UnitKey
from cimsim.config import ChipConfig
from cimsim.cost import CostModel, Density
from cimsim.engine import CorrectionWork, EngineResult, Plan, Visit, rows_of_visit, simulate
from cimsim.errors import CimsimInternalError
from cimsim.mac import MacStatistics
from cimsim.model import Correction, Decoder, KVCache, ScoreResult, Stage, StreamMemory, Walk
from cimsim.stages.calibration_cost import calibration_cost
from cimsim.stages.deployment import Deployment
from cimsim.stages.timed_linear import TimedLinear
from cimsim.stages.timing import Timing, charge_phase, phase_plan
from cimsim.workload.program import Program, TokenKeys
from cimsim.workload.trace import RoutingTrace

__all__ = ["CoupledChip", "CoupledModel", "CoupledPhase", "charge_phases"]

NONE = -1
MOST_TRIES = 4  # passes until weights read by digital experts follow from their own routing

UNSETTLED = (
    "the routing of a coupled run changes with the weights that digital experts read: those are "
    "counted from the pass before"
)

Windows = NDArray[np.int64]


@dataclass(frozen=True)
class CoupledPhase:
    """One phase of a coupled run.

    Attributes:
        name, batch: as in `Phase`.
        score: numbers of the phase: perplexity and routing of its tokens.
        result: its time.
    """

    name: str
    batch: int
    score: ScoreResult
    result: EngineResult


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
        del expert  # a visit names its own
        self._linear.written(slot, end_ps)

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


@dataclass(frozen=True)
class CoupledChip:
    """What all chip seeds of one configuration share in coupled mode.

    Attributes:
        config, mesh, placement, program, cost: the chip.
        decoder: the model.
        windows: scored text, int64 [windows, context].
        clean: routing of the float model on it: names the tokens, and is the first guess of
            what digital experts read.
        expected_load: [MoE layers, experts], what the pinned policy expects.
    """

    config: ChipConfig
    mesh: ChipMesh
    placement: Placement
    program: Program
    cost: CostModel
    decoder: Decoder
    windows: Windows
    clean: RoutingTrace
    expected_load: NDArray[np.int64]

    def run(
        self,
        deployment: Deployment,
        correction: Correction | None,
        *,
        statistics: MacStatistics | None,
        decode: bool,
        progress: Callable[[float], None],
    ) -> tuple[CoupledPhase, ...]:
        """Run prefill, and every decode batch if asked for.

        Args:
            deployment: the chip seed.
            correction: what calibration changed before the run.
            statistics: where conversions of prefill are counted, or None.
            decode: whether to run decode too.
            progress: told the share of the run that is done.
        """
        work = None
        if correction is not None:
            parts = (self.config, self.program, self.placement, self.cost)
            work = calibration_cost(*parts, correction, correction.method).work
        past: dict[int, KVCache] = {}
        phases = []
        plan = phase_plan(self.config)[: None if decode else 1]
        for number, (name, batch) in enumerate(plan):
            prefill = name == "prefill"
            phase, caches = self._phase(
                deployment,
                correction,
                work,
                name,
                batch,
                past,
                statistics if prefill else None,
                _part(progress, number, len(plan)),
            )
            past = caches if prefill else past
            phases.append(phase)
        return tuple(phases)

    def _phase(
        self,
        deployment: Deployment,
        correction: Correction | None,
        work: CorrectionWork | None,
        name: str,
        batch: int,
        past: dict[int, KVCache],
        statistics: MacStatistics | None,
        progress: Callable[[float], None],
    ) -> tuple[CoupledPhase, dict[int, KVCache]]:
        """Run one phase: once, or until digital experts read what their routing says."""
        guess = self.clean
        for _ in range(MOST_TRIES):
            counted = None if statistics is None else MacStatistics()
            linear = TimedLinear(
                deployment,
                correction,
                read_seed=self.config.run.seed,
                mode=self.config.run.tile_mode,
                statistics=counted,
            )
            maker = _Maker(self, linear, correction, past, progress)
            result = simulate(
                self.config,
                self.mesh,
                self.placement,
                self.program,
                self.cost,
                guess,
                phase=name.split("_", maxsplit=1)[0],
                batch=batch,
                correction=work,
                expected_load=self.expected_load,
                numbers=maker,
            )
            score = maker.made[0].score()
            # Routing decides time before it is known only where experts stream their weights.
            on_tiles = "experts" in self.config.chip.analog_parts
            if on_tiles or np.array_equal(score.experts, guess.experts):
                break
            guess = score.trace
        else:
            result = replace(result, cautions=(*result.cautions, UNSETTLED))
        if statistics is not None and counted is not None:
            statistics.merge(counted)
        return CoupledPhase(name, batch, score, result), maker.made[0].caches


def charge_phases(
    phases: tuple[CoupledPhase, ...],
    placement: Placement,
    cost: CostModel,
    density: Mapping[UnitKey, Density],
    copies: Mapping[UnitKey, int] | None,
) -> Timing:
    """Return the time and energy of a coupled run; arguments are those of `time_routing`."""
    return Timing(
        tuple(
            charge_phase(p.name, p.batch, p.result, placement, cost, density, copies)
            for p in phases
        )
    )


def _part(progress: Callable[[float], None], number: int, parts: int) -> Callable[[float], None]:
    """Return progress of one of several equal parts as a share of the whole."""
    return lambda share: progress((number + share) / parts)


class _Maker:
    """Makes the model of a phase when the engine has its plan; keeps it in `made`."""

    def __init__(
        self,
        chip: CoupledChip,
        linear: TimedLinear,
        correction: Correction | None,
        past: dict[int, KVCache],
        progress: Callable[[float], None],
    ) -> None:
        self._chip, self._linear, self._progress = chip, linear, progress
        self._correction, self._past = correction, past
        self.made: list[CoupledModel] = []

    def __call__(self, plan: Plan) -> CoupledModel:
        chip = self._chip
        model = CoupledModel(
            plan,
            chip.program,
            chip.decoder,
            self._linear,
            self._correction,
            chip.windows,
            frozenset(chip.config.chip.analog_parts),
            self._past,
            self._progress,
        )
        self.made.append(model)
        return model
