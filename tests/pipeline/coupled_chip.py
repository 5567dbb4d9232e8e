"""One phase of one chip in coupled mode, with everything that its visits computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.config import ChipConfig
from cimsim.engine import EngineResult, Plan, Visit, build_plan, time_plan
from cimsim.model import Decoder, FloatLinear, build_program
from cimsim.stages.coupled_model import CoupledModel
from cimsim.stages.models import calibration_windows, open_model, read_text, scored_windows
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.scoring import score_clean
from cimsim.stages.timed_linear import TimedLinear
from cimsim.workload.matrix import MatrixId, TokenKeys

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Product:
    """What one matrix of one visit was given and computed."""

    matrix: MatrixId
    x: Floats
    tokens: TokenKeys
    y: Floats
    start_ps: int
    visit: tuple[int, int, int]  # flight, site, expert id


@dataclass
class Recorder:
    """A `Linear` that keeps what it computed; the engine says for which visit."""

    linear: TimedLinear
    products: list[Product] = field(default_factory=list)
    start_ps: int = -1
    visit: tuple[int, int, int] = (-1, -1, -1)

    def serve(self, now_ps: int, replica: int, slot: int = -1) -> None:
        self.linear.serve(now_ps, replica, slot)

    def written(self, slot: int, expert: UnitKey, end_ps: int) -> None:
        self.linear.written(slot, expert, end_ps)

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        y = self.linear(matrix, x, tokens)
        self.products.append(Product(matrix, x, tokens, y, self.start_ps, self.visit))
        return y


class RecordedModel(CoupledModel):
    """A model that tells its recorder which visit is served."""

    recorder: Recorder

    def serve(self, visit: Visit, start_ps: int) -> None:
        self.recorder.start_ps = start_ps
        self.recorder.visit = (visit.flight, visit.site, visit.expert)
        super().serve(visit, start_ps)
        self.recorder.start_ps = -1


@dataclass(frozen=True)
class CoupledRun:
    """One coupled phase."""

    deployment: ProgrammedChip
    plan: Plan
    result: EngineResult
    products: tuple[Product, ...]


def deploy(config: ChipConfig, folder: Path) -> ProgrammedChip:
    """Program chip seed 0 with a checkpoint."""
    return _deploy(config, folder)[0]


def _deploy(config: ChipConfig, folder: Path) -> tuple[ProgrammedChip, PlacedChip]:
    checkpoint = open_model(folder)
    program, texts = build_program(checkpoint), read_text(None)
    decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
    profile = calibration_windows(checkpoint, texts, 64, config.workload.context)
    placed = place_chip(config, program, score_clean(decoder, digital, profile).trace)
    holds = placed.copies
    ranges = measure_ranges(config, decoder, holds, profile)
    chip = ProgrammedChip.program(
        config.tile, config.technology.temperature_c, checkpoint, holds, ranges, digital, 0
    )
    return chip, placed


def run_phase(config: ChipConfig, folder: Path, phase: str, batch: int) -> CoupledRun:
    """Run prefill, or decode of whole windows, and record every product on tiles."""
    deployment, placed = _deploy(config, folder)
    checkpoint = deployment.checkpoint
    decoder = Decoder(checkpoint)
    windows = scored_windows(checkpoint, read_text(None), config.workload)
    trace = score_clean(decoder, deployment.digital, windows).trace
    linear = TimedLinear(
        deployment,
        None,
        read_seed=config.run.seed,
        mode="detailed",
        age_step=config.run.age_step,
        statistics=None,
    )
    recorder = Recorder(linear)
    interpreter = decoder.interpreter(recorder, on_tiles=frozenset(config.chip.analog_parts))
    plans: list[Plan] = []

    def model(plan: Plan) -> RecordedModel:
        plans.append(plan)
        made = RecordedModel(
            plan, decoder, interpreter, recorder, windows, {}, lambda _: None,  # type: ignore[arg-type]
        )  # fmt: skip
        made.recorder = recorder
        return made

    plan = build_plan(placed, trace, phase=phase, batch=batch)
    result = time_plan(placed, plan, numbers=model)
    served = tuple(p for p in recorder.products if p.start_ps >= 0)
    return CoupledRun(deployment, plans[0], result, served)
