"""Accuracy of a model on chips: clean, ideal integer, noisy, calibrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import LogicalCopies
from cimsim.config import ChipConfig
from cimsim.mac import AdcRange, MacStatistics
from cimsim.model import Correction, Decoder, FloatLinear, Linear, ScoreResult
from cimsim.model.text import perplexity
from cimsim.stages.compute import Compute
from cimsim.stages.copy import Copy
from cimsim.stages.coupled import CoupledChip, CoupledPhase
from cimsim.stages.linear import AnalogLinear
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.stored_copies import Maker, StoredCopies
from cimsim.workload.matrix import MatrixId
from romer import Calibrated, CalibrationText, CleanReference, Task, calibrate

__all__ = [
    "Noisy",
    "Seed",
    "Treated",
    "calibration_method",
    "calibration_task",
    "score_clean",
    "score_ideal",
    "score_noisy",
    "score_treated",
]

Windows = NDArray[np.int64]
Floats = NDArray[np.float32]

# Text that calibrates and text that is scored never share an address of read noise.
CALIBRATION_READ_SEEDS = (1_000_003, 1_000_033)
TOGETHER = "numbers and time"  # what progress calls a coupled run


@dataclass(frozen=True)
class Noisy:
    """One chip seed as it is.

    Attributes:
        score: score and routing.
        statistics: conversions and densities.
        phases: phases of a coupled run; none in trace mode.
    """

    score: ScoreResult
    statistics: MacStatistics
    phases: tuple[CoupledPhase, ...] = ()


@dataclass(frozen=True)
class Treated:
    """One chip seed with its correction.

    Attributes:
        calibration: the correction and why its steps were kept.
        score: score and routing; None where the correction changes nothing.
        clean_ppl: the float model's perplexity under the correction, None as well.
        phases: phases of a coupled run; none in trace mode.
    """

    calibration: Calibrated
    score: ScoreResult | None = None
    clean_ppl: float | None = None
    phases: tuple[CoupledPhase, ...] = ()


@dataclass(frozen=True)
class Seed:
    """One chip seed before and after calibration.

    Attributes:
        chip_seed: which draw of the frozen randomness.
        noisy: score and routing of the uncalibrated chip.
        calibrated: score and routing with the correction.
        calibration: the correction and why its steps were kept.
        clean_ppl_with_correction: the float model's perplexity under the correction; None
            where the correction changes nothing.
        statistics: conversions and densities of the noisy pass.
        phases: phases of a coupled run before calibration; none in trace mode.
        calibrated_phases: the same with the correction.
    """

    chip_seed: int
    noisy: ScoreResult
    calibrated: ScoreResult
    calibration: Calibrated
    clean_ppl_with_correction: float | None
    statistics: MacStatistics
    phases: tuple[CoupledPhase, ...] = ()
    calibrated_phases: tuple[CoupledPhase, ...] = ()

    @classmethod
    def of(cls, chip_seed: int, noisy: Noisy, treated: Treated) -> Seed:
        """Join both sides of a chip seed; without a correction they are one."""
        same = treated.score is None
        return cls(
            chip_seed,
            noisy.score,
            treated.score or noisy.score,
            treated.calibration,
            treated.clean_ppl,
            noisy.statistics,
            noisy.phases,
            noisy.phases if same else treated.phases,
        )


def calibration_method(config: ChipConfig) -> str:
    """Return the calibrator that runs: digital crossbars have no error that it could undo."""
    return "identity" if config.tile.crossbar.kind == "digital" else config.calibration.method


def score_clean(decoder: Decoder, digital: FloatLinear, windows: Windows) -> ScoreResult:
    """Score the float model."""
    return _score(decoder, digital, windows, None)


def score_ideal(
    config: ChipConfig,
    decoder: Decoder,
    digital: FloatLinear,
    holds: LogicalCopies,
    ranges: Mapping[MatrixId, AdcRange],
    windows: Windows,
    compute: Compute,
) -> float:
    """Return the perplexity with exact integer products at the chip's bits."""

    def written(matrix: MatrixId) -> tuple[Copy, ...]:
        weight = decoder.backend.of_layer(matrix.layer).weight(decoder.checkpoint, matrix)
        return (compute.ideal(weight, config.tile, matrix, ranges[matrix]),)

    tilings = [t for unit in holds.units.values() for t in unit.tilings]
    makers: dict[MatrixId, Maker] = {t.matrix.id: partial(written, t.matrix.id) for t in tilings}
    ideal = AnalogLinear(StoredCopies(makers, compute.kept_bytes), digital, 0, "detailed")
    return perplexity(_score(decoder, ideal, windows, None).nll)


def calibration_task(
    config: ChipConfig,
    decoder: Decoder,
    deployment: ProgrammedChip,
    reference: CleanReference,
    text: CalibrationText,
    chip_hash: str,
) -> Task:
    """Return what a calibrator sees of one chip.

    Args:
        config: how it is calibrated.
        decoder: the model.
        deployment: the programmed chip.
        reference: clean routing of the FIT text.
        text: FIT and ACCEPT calibration text.
        chip_hash: opaque identity of chip and seed.
    """
    seed, deployed = config.run.seed, config.calibration.accept_mode == "deployed"
    return Task(
        decoder=decoder,
        clean=deployment.digital,
        reference=reference,
        deployment=deployment,
        text=text,
        mode="folded",
        read_seeds=(seed + CALIBRATION_READ_SEEDS[0], seed + CALIBRATION_READ_SEEDS[1]),
        analog=config.chip.analog_parts,
        model_hash=decoder.checkpoint.hash,
        chip_hash=chip_hash,
        min_gain_nats=config.calibration.min_gain_nats,
        accept_mode=config.run.tile_mode if deployed else "folded",
    )


def score_noisy(
    config: ChipConfig,
    decoder: Decoder,
    deployment: ProgrammedChip,
    windows: Windows,
    coupled: CoupledChip | None,
    progress: Callable[[str, float], None],
) -> Noisy:
    """Score one chip as it is.

    Args:
        config: how it is scored.
        decoder: the model.
        deployment: the programmed chip.
        windows: scored text, int64 [windows, context].
        coupled: computes numbers and time together; None computes numbers alone.
        progress: told (stage, share done).
    """
    statistics = MacStatistics()
    progress("scoring", 0.0)
    score, phases = _deployed(
        config, decoder, deployment, windows, coupled, None, statistics,
        lambda share: progress(TOGETHER, 0.4 * share),
    )  # fmt: skip
    return Noisy(score, statistics, phases)


def score_treated(
    config: ChipConfig,
    decoder: Decoder,
    deployment: ProgrammedChip,
    windows: Windows,
    wanted: Correction | Task,
    coupled: CoupledChip | None,
    progress: Callable[[str, float], None],
) -> Treated:
    """Calibrate a chip, or apply a given correction, and score it again.

    Args:
        config: how it is scored and calibrated.
        decoder: the model.
        deployment: the programmed chip.
        windows: scored text, int64 [windows, context].
        wanted: what a calibrator sees, or a correction to apply instead of calibrating.
        coupled: computes numbers and time together; None computes numbers alone. A correction
            is fitted on the chip as it is when the run starts.
        progress: told (stage, share done).
    """
    if isinstance(wanted, Task):
        progress("calibrating", 0.4)
        calibration = calibrate(wanted, calibration_method(config))
    else:
        calibration = Calibrated(wanted, ())
    chosen = calibration.correction
    if config.run.tile_mode == "detailed":
        deployment.forget_folded()
    progress("scoring calibrated", 0.6)
    if chosen.is_identity:
        return Treated(calibration)
    if coupled is not None:
        deployment.forget_drawn()
    score, phases = _deployed(
        config, decoder, deployment, windows, coupled, chosen, None,
        lambda share: progress(f"{TOGETHER}, calibrated", 0.6 + 0.4 * share),
    )  # fmt: skip
    clean = perplexity(_score(decoder, deployment.digital, windows, chosen).nll)
    return Treated(calibration, score, clean, phases)


def _deployed(
    config: ChipConfig,
    decoder: Decoder,
    deployment: ProgrammedChip,
    windows: Windows,
    coupled: CoupledChip | None,
    correction: Correction | None,
    statistics: MacStatistics | None,
    progress: Callable[[float], None],
) -> tuple[ScoreResult, tuple[CoupledPhase, ...]]:
    """Score a chip alone, or with the phases that its time is made of."""
    if coupled is None:
        linear = deployment.linear(
            correction,
            read_seed=config.run.seed,
            mode=config.run.tile_mode,
            statistics=statistics,
        )
        return _score(decoder, linear, windows, correction), ()
    # Time is reported of the first chip.
    decode = deployment.chip_seed == 0
    phases = coupled.run(
        deployment, correction, statistics=statistics, decode=decode, progress=progress
    )
    return phases[0].score, phases


def _score(
    decoder: Decoder, linear: Linear, windows: Windows, correction: Correction | None
) -> ScoreResult:
    sequences = np.arange(len(windows), dtype=np.int64)
    return decoder.score(
        windows, linear, sequences=sequences, correction=correction, side_by_side=True
    )
