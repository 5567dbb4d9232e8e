"""Accuracy of a model on chips: clean, ideal integer, noisy, calibrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import LogicalCopies
from cimsim.config import ChipConfig
from cimsim.mac import AdcRange, IdealMatrix, MacStatistics, Mode, ideal_integer
from cimsim.model import Correction, Decoder, FloatLinear, Linear, ScoreResult
from cimsim.model.text import perplexity
from cimsim.stages.coupled import CoupledChip, CoupledPhase
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.workload.program import MatrixId, TokenKeys
from romer import Calibrated, CalibrationText, CleanReference, Task, calibrate

__all__ = ["Seed", "calibration_method", "score_clean", "score_ideal", "score_seed"]

Windows = NDArray[np.int64]
Floats = NDArray[np.float32]

# Text that calibrates and text that is scored never share an address of read noise.
CALIBRATION_READ_SEEDS = (1_000_003, 1_000_033)


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


@dataclass(frozen=True)
class _IdealLinear:
    """Exact integer products of the analog matrices, float products of the others."""

    matrices: Mapping[MatrixId, IdealMatrix]
    digital: FloatLinear

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        ideal = self.matrices.get(matrix)
        if ideal is None:
            return self.digital(matrix, x, tokens)
        return ideal.multiply(x, tokens)


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
) -> float:
    """Return the perplexity with exact integer products at the chip's bits."""
    ideal = {
        t.matrix.id: ideal_integer(
            decoder.checkpoint.matrix(t.matrix.id),
            config.tile,
            matrix=t.matrix.id,
            adc_range=ranges[t.matrix.id],
        )
        for unit in holds.units.values()
        for t in unit.tilings
    }
    return perplexity(_score(decoder, _IdealLinear(ideal, digital), windows, None).nll)


def score_seed(
    config: ChipConfig,
    deployment: ProgrammedChip,
    decoder: Decoder,
    windows: Windows,
    text: CalibrationText,
    reference: CleanReference,
    chip_hash: str,
    *,
    correction: Correction | None,
    coupled: CoupledChip | None,
    progress: Callable[[str, float], None],
) -> Seed:
    """Score one chip, calibrate it (or apply a given correction), and score it again.

    Args:
        config: how it is scored and calibrated.
        deployment: the programmed chip.
        decoder: the model.
        windows: scored text, int64 [windows, context].
        text: FIT and ACCEPT calibration text.
        reference: clean routing of the FIT text.
        chip_hash: opaque identity of chip and seed.
        correction: a saved correction to apply instead of calibrating.
        coupled: computes numbers and time together; None computes numbers alone. A correction
            is fitted on the chip as it is when the run starts.
        progress: told (stage, share done).
    """
    mode: Mode = config.run.tile_mode
    seed = config.run.seed
    statistics = MacStatistics()
    progress("scoring", 0.0)
    phases: tuple[CoupledPhase, ...] = ()
    # Time is reported of the first chip.
    decode = deployment.chip_seed == 0
    if coupled is None:
        linear = deployment.linear(None, read_seed=seed, mode=mode, statistics=statistics)
        noisy = _score(decoder, linear, windows, None)
    else:
        phases = coupled.run(
            deployment,
            None,
            statistics=statistics,
            decode=decode,
            progress=lambda share: progress("numbers and time", 0.4 * share),
        )
        noisy = phases[0].score
    if correction is None:
        progress("calibrating", 0.4)
        task = Task(
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
        )
        calibration = calibrate(task, calibration_method(config))
    else:
        calibration = Calibrated(correction, ())
    chosen = calibration.correction
    if mode == "detailed":
        deployment.forget_folded()
    progress("scoring calibrated", 0.6)
    if chosen.is_identity:
        return Seed(
            deployment.chip_seed,
            noisy,
            noisy,
            calibration,
            None,
            statistics,
            phases,
            phases,
        )
    after: tuple[CoupledPhase, ...] = ()
    if coupled is None:
        linear = deployment.linear(chosen, read_seed=seed, mode=mode)
        calibrated = _score(decoder, linear, windows, chosen)
    else:
        deployment.drawn.clear()
        after = coupled.run(
            deployment,
            chosen,
            statistics=None,
            decode=decode,
            progress=lambda share: progress("numbers and time, calibrated", 0.6 + 0.4 * share),
        )
        calibrated = after[0].score
    clean = perplexity(_score(decoder, deployment.digital, windows, chosen).nll)
    return Seed(
        deployment.chip_seed, noisy, calibrated, calibration, clean, statistics, phases, after
    )


def _score(
    decoder: Decoder, linear: Linear, windows: Windows, correction: Correction | None
) -> ScoreResult:
    sequences = np.arange(len(windows), dtype=np.int64)
    return decoder.score(windows, linear, sequences=sequences, correction=correction)
