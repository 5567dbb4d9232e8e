"""Everything that one chip and model gave, as the columns of the tables read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.model import ScoreResult
from cimsim.model.text import perplexity
from cimsim.results import TileLoad, component_energies, top_components
from cimsim.results.statistics import Interval, mean_interval, topk_agreement
from cimsim.stages.accuracy import Accuracy
from cimsim.stages.calibration_cost import CalibrationCost
from cimsim.stages.dies import count_dies
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.timing import Phase, TimedPhases, peak_power_w
from cimsim.stages.wear import Wear, wear

__all__ = ["ChipMeasurement", "Side"]


@dataclass(frozen=True)
class Side:
    """One chip and model before or after calibration.

    Attributes:
        clean: score of the float model.
        scores: of every chip seed.
        main: decode at the largest batch, with the routing of chip seed 0.
        tile_load_ps: busy time of tiles in it, [tiles].
        holds_weights: bool [tiles].
    """

    clean: ScoreResult
    scores: tuple[ScoreResult, ...]
    main: Phase
    tile_load_ps: NDArray[np.int64]
    holds_weights: NDArray[np.bool_]

    @cached_property
    def ppl(self) -> Interval:
        """Perplexity, mean over chip seeds and its interval."""
        return mean_interval([perplexity(s.nll) for s in self.scores])

    @cached_property
    def loads(self) -> list[NDArray[np.int64]]:
        """Visits of experts on every chip seed, [MoE layers, experts] each."""
        return [s.trace.load() for s in self.scores]

    @cached_property
    def agreement(self) -> list[NDArray[np.float64]]:
        """Share of the float model's expert choices kept on every chip seed, [MoE layers]."""
        return [topk_agreement(self.clean.experts, s.experts) for s in self.scores]


@dataclass(frozen=True)
class ChipMeasurement:
    """Everything that one chip and model gave.

    Attributes:
        chip: the chip with its program.
        accuracy: of the functional path.
        before: time and energy with the routing of the uncalibrated chip seed 0.
        after: the same after calibration.
        tile_load: before, after, and placed round-robin.
        calibration: what calibrating chip seed 0 costs.
        tokens: scored and timed tokens.
    """

    chip: PlacedChip
    accuracy: Accuracy
    before: TimedPhases
    after: TimedPhases
    tile_load: TileLoad
    calibration: CalibrationCost
    tokens: int

    @property
    def config(self) -> ChipConfig:
        """The chip's configuration."""
        return self.chip.config

    @property
    def batches(self) -> list[int]:
        """Decode batch sizes, rising."""
        return sorted(self.config.run.decode_batch)

    @cached_property
    def noisy(self) -> Side:
        """Before calibration."""
        scores = tuple(s.noisy for s in self.accuracy.seeds)
        return self._side(scores, self.before, self.tile_load.noisy_ps)

    @cached_property
    def calibrated(self) -> Side:
        """After calibration."""
        scores = tuple(s.calibrated for s in self.accuracy.seeds)
        return self._side(scores, self.after, self.tile_load.calibrated_ps)

    def _side(
        self, scores: tuple[ScoreResult, ...], timing: TimedPhases, load_ps: NDArray[np.int64]
    ) -> Side:
        main, held = timing.decode(max(self.config.run.decode_batch)), self.tile_load.holds_weights
        return Side(self.accuracy.clean, scores, main, load_ps, held)

    @property
    def clip_rate(self) -> float | None:
        """Share of conversions that clip, mean over seeds; None if none is made."""
        rates = [s.statistics.clip_rate for s in self.accuracy.seeds]
        made = [rate for rate in rates if rate is not None]
        return float(np.mean(made)) if made else None

    @property
    def main(self) -> Phase:
        """Decode at the largest batch before calibration: of the columns that name no batch."""
        return self.noisy.main

    @property
    def area_mm2(self) -> float:
        """On-chip area."""
        return self.chip.cost.area_mm2()

    @property
    def dies(self) -> int:
        """Dies that hold the model once."""
        return count_dies(self.area_mm2, self.chip.mesh.chips)

    @property
    def macs_per_token(self) -> float:
        """Multiply-accumulates per token: linear layers, and attention over the past."""
        program, context = self.chip.program, self.config.workload.context
        return float(program.linear_macs_per_token()) + program.attention_macs_per_token(
            (context + 1) / 2
        )

    @cached_property
    def top_components(self) -> list[tuple[str, float]]:
        """The largest energy components and their shares."""
        return top_components(component_energies(self.main.ledger))

    @property
    def peak_power_w(self) -> float:
        """Power of the worst window of 1 us."""
        return peak_power_w(self.chip, self.main)

    @cached_property
    def wear(self) -> Wear:
        """Wear of the most written expert slot in the main phase."""
        return wear(self.config, self.main)
