"""Numbers and time together: the engine drives the model, visit by visit.

`CoupledModel` walks the tokens of a phase through the model as the engine asks; `CoupledChip`
runs the phases of one chip seed in that way, and `charge_phases` says what they cost. Prefill
is the scored pass. Decode is teacher-forced on the same text; where a batch is filled with
parts of sequences, a part continues from the keys and values that prefill left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.cost import Density
from cimsim.engine import CorrectionWork, EngineResult, Plan, build_plan, time_plan
from cimsim.mac import MacStatistics
from cimsim.model import Correction, Decoder, KVCache, ScoreResult
from cimsim.stages.calibration_cost import calibration_cost
from cimsim.stages.coupled_model import CoupledModel, Windows
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.timed_linear import TimedLinear
from cimsim.stages.timing import TimedPhases, charge_phase, phase_plan
from cimsim.workload.trace import RoutingTrace

__all__ = ["CoupledChip", "CoupledPhase", "charge_phases"]

MOST_TRIES = 4  # passes until weights read by digital experts follow from their own routing

UNSETTLED = (
    "the routing of a coupled run changes with the weights that digital experts read: those are "
    "counted from the pass before"
)


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


@dataclass(frozen=True)
class CoupledChip:
    """What all chip seeds of one configuration share in coupled mode.

    Attributes:
        placed: the chip with its program.
        decoder: the model.
        windows: scored text, int64 [windows, context].
        clean: routing of the float model on it: names the tokens, and is the first guess of
            what digital experts read.
        expected_load: [MoE layers, experts], what the pinned policy expects.
    """

    placed: PlacedChip
    decoder: Decoder
    windows: Windows
    clean: RoutingTrace
    expected_load: NDArray[np.int64]

    def run(
        self,
        deployment: ProgrammedChip,
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
        past: dict[int, KVCache] = {}
        phases = []
        plan = phase_plan(self.placed.config)[: None if decode else 1]
        for number, (name, batch) in enumerate(plan):
            told = _part(progress, number, len(plan))
            phase = _Phase(self, deployment, correction, name, batch, past, told)
            if name == "prefill":
                phases.append(phase.settle(statistics))
                past = phase.model.caches
            else:
                phases.append(phase.settle(None))
        return tuple(phases)


class _Phase:
    """One phase of one chip seed on its way through the engine.

    Args:
        chip: what all seeds share.
        deployment: the chip seed.
        correction: what calibration changed.
        name: of the phase.
        batch: sequences at once.
        past: keys and values of whole sequences.
        progress: told the share that is done.

    Attributes:
        model: of the last pass.
    """

    model: CoupledModel

    def __init__(
        self,
        chip: CoupledChip,
        deployment: ProgrammedChip,
        correction: Correction | None,
        name: str,
        batch: int,
        past: dict[int, KVCache],
        progress: Callable[[float], None],
    ) -> None:
        self._chip, self._deployment, self._correction = chip, deployment, correction
        self._name, self._batch, self._past, self._progress = name, batch, past, progress

    def settle(self, statistics: MacStatistics | None) -> CoupledPhase:
        """Run the phase: once, or until digital experts read what their routing says."""
        guess, config = self._chip.clean, self._chip.placed.config
        for _ in range(MOST_TRIES):
            counted = None if statistics is None else MacStatistics()
            result = self._pass(guess, counted)
            score = self.model.score()
            # Routing decides time before it is known only where experts stream their weights.
            on_tiles = "experts" in config.chip.analog_parts
            if on_tiles or np.array_equal(score.experts, guess.experts):
                break
            guess = score.trace
        else:
            result = replace(result, cautions=(*result.cautions, UNSETTLED))
        if statistics is not None and counted is not None:
            statistics.merge(counted)
        return CoupledPhase(self._name, self._batch, score, result)

    def _pass(self, guess: RoutingTrace, counted: MacStatistics | None) -> EngineResult:
        """Let the engine drive the model once; `guess` says what digital experts read."""
        chip, run = self._chip, self._chip.placed.config.run
        linear = TimedLinear(
            self._deployment,
            self._correction,
            read_seed=run.seed,
            mode=run.tile_mode,
            age_step=run.age_step,
            statistics=counted,
        )
        interpreter = chip.decoder.interpreter(
            linear,
            correction=self._correction,
            on_tiles=frozenset(chip.placed.config.chip.analog_parts),
        )

        def numbers(plan: Plan) -> CoupledModel:
            self.model = CoupledModel(
                plan, chip.decoder, interpreter, linear, chip.windows, self._past, self._progress
            )
            return self.model

        paid = None if self._correction is None else calibration_cost(chip.placed, self._correction)
        plan = build_plan(
            chip.placed,
            guess,
            phase=self._name.split("_", maxsplit=1)[0],
            batch=self._batch,
            correction=CorrectionWork() if paid is None else paid.work,
            expected_load=chip.expected_load,
        )
        return time_plan(chip.placed, plan, numbers=numbers)


def charge_phases(
    chip: PlacedChip,
    phases: tuple[CoupledPhase, ...],
    density: Mapping[UnitKey, Density],
    copies: Mapping[UnitKey, int] | None,
) -> TimedPhases:
    """Return the time and energy of a coupled run; arguments are those of `time_routings`."""
    return TimedPhases(
        tuple(charge_phase(chip, p.name, p.batch, p.result, density, copies) for p in phases)
    )


def _part(progress: Callable[[float], None], number: int, parts: int) -> Callable[[float], None]:
    """Return progress of one of several equal parts as a share of the whole."""
    return lambda share: progress((number + share) / parts)
