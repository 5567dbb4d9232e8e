"""Accuracy of one model on all chip seeds of one configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from cimsim.chip import LogicalCopies
from cimsim.config import ChipConfig
from cimsim.config.load import config_hash
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange
from cimsim.model import Correction, ScoreResult, load_correction
from cimsim.stages.coupled import CoupledChip
from cimsim.stages.exactness import is_exact
from cimsim.stages.heap import release_heap
from cimsim.stages.models import scored_bytes, unigram_ppl
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.scoring import (
    Seed,
    calibration_method,
    calibration_task,
    score_ideal,
    score_seed,
)
from cimsim.stages.subject import ModelOnText
from cimsim.workload.matrix import MatrixId
from romer import CalibrationText, CleanReference, split_documents, steps_of

__all__ = ["Accuracy", "GivenCorrection", "chip_identity", "measure_accuracy", "open_correction"]


@dataclass(frozen=True)
class Accuracy:
    """What the functional path measured.

    Attributes:
        clean: score and routing of the float model.
        ideal_ppl: perplexity with exact integer products at the chip's bits.
        unigram_ppl: perplexity of a unigram model of the calibration text.
        text_bytes: of the scored text, UTF-8.
        seeds: one entry per chip seed; on a chip without random errors the same numbers.
        warnings: one sentence each.
    """

    clean: ScoreResult
    ideal_ppl: float
    unigram_ppl: float
    text_bytes: int
    seeds: tuple[Seed, ...]
    warnings: tuple[str, ...]


# What a run does with a chip; nothing that is written into its cells depends on it.
_USE = (
    ("workload", ("tokens", "in_flight")),
    (
        "run",
        (
            "chip_seeds",
            "tile_mode",
            "flight_tokens",
            "decode_batch",
            "engine",
            "coupling",
            "age_step",
            "backend",
            "device",
            "precision",
        ),
    ),
    ("calibration", ("method", "min_gain_nats")),
)


def chip_identity(config: ChipConfig, chip_seed: int) -> str:
    """Return the opaque identity of one chip: what a correction is made for.

    How much text is scored or timed, and how, does not make another chip.
    """
    plain = ChipConfig(name=config.name)
    sections = {
        name: getattr(config, name).model_copy(
            update={key: getattr(getattr(plain, name), key) for key in keys}
        )
        for name, keys in _USE
    }
    bare = config.model_copy(update=sections)
    return hashlib.sha256(f"{config_hash(bare)}:{chip_seed}".encode()).hexdigest()


def open_correction(
    path: Path, config: ChipConfig, model_hash: str, *, force: bool
) -> tuple[Correction, tuple[str, ...]]:
    """Read a saved correction and check that it was made for this model and chip.

    Args:
        path: the correction's file.
        config: the chip, whose seed 0 it must fit.
        model_hash: identity of the model.
        force: accept a foreign correction with a warning.

    Raises:
        CimsimError: if it was made for something else.
    """
    correction = load_correction(path)
    wrong = []
    if correction.model_hash != model_hash:
        wrong.append("model")
    if correction.chip_hash != chip_identity(config, 0):
        wrong.append("chip or seed")
    if not wrong:
        return correction, ()
    sentence = f"the correction was made for another {' and '.join(wrong)}"
    if not force:
        raise CimsimError(
            sentence, file=path, key="--correction", hint="--force applies it all the same"
        )
    return correction, (sentence,)


@dataclass(frozen=True)
class GivenCorrection:
    """A saved correction to apply instead of calibrating, or none.

    Attributes:
        correction: None to calibrate.
        warnings: one sentence each.
    """

    correction: Correction | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, path: Path | None, config: ChipConfig, model_hash: str, *, force: bool
    ) -> GivenCorrection:
        """Read a saved correction, if there is one; arguments are those of `open_correction`."""
        if path is None:
            return cls()
        correction, warnings = open_correction(path, config, model_hash, force=force)
        if config.run.chip_seeds > 1:
            warnings += (
                f"the correction was made for chip seed 0 and is applied to all "
                f"{config.run.chip_seeds} (run.chip_seeds=1 takes the chip it was made for)",
            )
        return cls(correction, warnings)


def measure_accuracy(
    config: ChipConfig,
    subject: ModelOnText,
    holds: LogicalCopies,
    ranges: Mapping[MatrixId, AdcRange],
    given: GivenCorrection,
    coupled: CoupledChip | None,
    threads: int,
    progress: Callable[[str, float], None],
) -> Accuracy:
    """Score clean, ideal, noisy and calibrated over all chip seeds.

    Args:
        config: the chip.
        subject: the model and its texts.
        holds: what the chip holds.
        ranges: ADC ranges, shared by all seeds.
        given: a saved correction, or none to calibrate.
        coupled: computes numbers and time together, None for numbers alone.
        threads: chip seeds evaluated at once.
        progress: told (stage, share done).
    """
    decoder, digital, windows = subject.decoder, subject.digital, subject.windows
    progress("ideal integers", 0.05)
    compute = subject.compute
    ideal = score_ideal(config, decoder, digital, holds, ranges, windows, compute)
    text, reference = _calibration(config, subject, given)
    exact = is_exact(config.tile)
    drawn = 1 if exact else config.run.chip_seeds

    def run_seed(index: int) -> Seed:
        said = _within(progress, index, drawn)
        said("programming", 0.0)
        temperature_c = config.technology.temperature_c
        deployment = ProgrammedChip.program(
            config.tile, temperature_c, decoder.checkpoint, holds, ranges, digital, index, compute
        )
        wanted = given.correction or calibration_task(
            config, decoder, deployment, reference, text, chip_identity(config, index)
        )
        seed = score_seed(config, decoder, deployment, windows, wanted, coupled, said)
        # A programmed chip is a quarter of a gigabyte and part of reference cycles.
        del deployment, wanted
        release_heap()
        return seed

    # Chips share nothing that is written, and compiled kernels release the interpreter.
    together = min(threads, drawn) if compute.seeds_at_once else 1
    with ThreadPoolExecutor(max(1, together)) as pool:
        seeds = list(pool.map(run_seed, range(drawn)))
    warnings = given.warnings
    if config.run.tile_mode == "folded":
        warnings += _unfolded(seeds[0])
    warnings += _near_things(seeds)
    if exact:
        # Nothing is drawn on such a chip: every seed is the first one again.
        seeds = seeds * config.run.chip_seeds
    unigram = unigram_ppl(decoder.checkpoint, subject.texts, windows)
    size = scored_bytes(decoder.checkpoint, subject.texts, config.workload)
    return Accuracy(subject.clean, ideal, unigram, size, tuple(seeds), warnings)


def _calibration(
    config: ChipConfig, subject: ModelOnText, given: GivenCorrection
) -> tuple[CalibrationText, CleanReference]:
    """Return calibration text and what the clean model does on it, as far as it is needed."""
    tokens, context = config.calibration.tokens, config.workload.context
    text = split_documents(subject.checkpoint, subject.texts.calibration, tokens, context)
    needed = given.correction is None and bool(steps_of(calibration_method(config)))
    read = text if needed else replace(text, fit=text.fit[:1])
    return text, CleanReference.measure(subject.decoder, subject.digital, read)


def _near_things(seeds: Sequence[Seed]) -> tuple[str, ...]:
    """Name the calibration steps that were kept or dropped by a hair."""
    return tuple(
        f"calibration of chip seed {seed.chip_seed}: {verdict.sentence()}: a near thing, which "
        "another draw of the text may decide otherwise"
        for seed in seeds
        for verdict in seed.calibration.verdicts
        if verdict.marginal
    )


def _unfolded(seed: Seed) -> tuple[str, ...]:
    """Say how many matrices run.tile_mode leaves as they are: folding is not faithful there."""
    # A folded product makes no conversions.
    detailed = sum(counts.conversions > 0 for _, counts in seed.statistics)
    if not detailed:
        return ()
    return (
        f"run.tile_mode: {detailed} of {len(seed.statistics.counts)} matrices cannot be folded "
        "faithfully and were computed in detail",
    )


def _within(
    progress: Callable[[str, float], None], index: int, drawn: int
) -> Callable[[str, float], None]:
    """Return progress of one chip seed as a share of the whole."""

    def said(stage: str, share: float) -> None:
        progress(f"{stage}, chip {index + 1} of {drawn}", 0.1 + 0.9 * (index + share) / drawn)

    return said
