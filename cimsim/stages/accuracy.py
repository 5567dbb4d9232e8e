"""Accuracy of one model on all chip seeds of one configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange
from cimsim.model import Correction, ScoreResult, load_correction
from cimsim.model.correction_check import check_correction
from cimsim.results.packed import digest_of
from cimsim.stages.chip_seed import ChipSeeds
from cimsim.stages.coupled import CoupledChip
from cimsim.stages.exactness import is_exact
from cimsim.stages.heap import release_heap
from cimsim.stages.identity import chip_identity
from cimsim.stages.models import scored_bytes, unigram_ppl
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.scoring import Seed
from cimsim.stages.subject import ModelOnText
from cimsim.workload.matrix import MatrixId
from cimsim.workload.program import Program
from romer.steps.low_rank import unfitted_experts, unfitted_sentence

__all__ = ["Accuracy", "GivenCorrection", "foreign_seeds", "measure_accuracy", "open_correction"]


@dataclass(frozen=True)
class Accuracy:
    """What the functional path measured.

    Attributes:
        clean: score and routing of the float model.
        ideal_ppl: perplexity with exact integer products at the chip's bits.
        unigram_ppl: perplexity of a unigram model of the calibration text.
        text_bytes: of the scored text, UTF-8.
        seeds: one entry per chip seed; on a chip without random errors the same numbers.
        ranges: converter range of every analog matrix.
        warnings: one sentence each.
    """

    clean: ScoreResult
    ideal_ppl: float
    unigram_ppl: float
    text_bytes: int
    seeds: tuple[Seed, ...]
    ranges: Mapping[MatrixId, AdcRange]
    warnings: tuple[str, ...]


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
            warnings += (foreign_seeds(config.run.chip_seeds),)
        return cls(correction, warnings)

    def check(self, program: Program) -> None:
        """Refuse a correction that does not fit the model; arguments: `check_correction`."""
        if self.correction is not None:
            check_correction(self.correction, program, self.correction.model_hash)


def foreign_seeds(seeds: int) -> str:
    """Say that a correction is applied to chips that it was not made for."""
    return (
        f"the correction was made for chip seed 0 and is applied to all {seeds} "
        "(run.chip_seeds=1 takes the chip it was made for)"
    )


def measure_accuracy(
    chip: PlacedChip,
    subject: ModelOnText,
    ranges: Mapping[MatrixId, AdcRange],
    given: GivenCorrection,
    coupled: CoupledChip | None,
    threads: int,
    progress: Callable[[str, float], None],
    first: Callable[[Seed], None] | None = None,
) -> Accuracy:
    """Score clean, ideal, noisy and calibrated over all chip seeds.

    Args:
        chip: the chip with the model on it.
        subject: the model and its texts.
        ranges: ADC ranges, shared by all seeds.
        given: a saved correction, or none to calibrate.
        coupled: computes numbers and time together, None for numbers alone.
        threads: chip seeds evaluated at once.
        progress: told (stage, share done).
        first: given chip seed 0 as soon as it is computed, before any seed that comes after it.
    """
    progress("ideal integers", 0.05)
    config, exact = chip.config, is_exact(chip.config.tile)
    drawn = 1 if exact else config.run.chip_seeds
    scorings = [
        ChipSeeds(config, each, chip.copies, ranges, given.correction, coupled)
        for each in (subject, *subject.elsewhere)
    ]
    ideal = scorings[0].ideal()
    # What is freed lies between cached weights, in pieces too small for the cells of a chip.
    release_heap()
    seeds = _all_seeds(scorings, drawn, threads, progress, first)
    warnings = given.warnings
    if config.run.tile_mode == "folded":
        warnings += _unfolded(seeds[0])
    warnings += _near_things(seeds)
    left_out = unfitted_experts(
        subject.program, config.chip.analog_parts, seeds[0].calibration.correction
    )
    if left_out:
        warnings += (f"calibration of chip seed 0: {unfitted_sentence(left_out)}",)
    if exact:
        # Nothing is drawn on such a chip: every seed is the first one again.
        seeds = seeds * config.run.chip_seeds
    size = scored_bytes(subject.checkpoint, subject.texts, config.workload)
    return Accuracy(subject.clean, ideal, _unigram(subject), size, tuple(seeds), ranges, warnings)


def _all_seeds(
    scorings: Sequence[ChipSeeds],
    drawn: int,
    threads: int,
    progress: Callable[[str, float], None],
    first: Callable[[Seed], None] | None,
) -> list[Seed]:
    """Return all chip seeds in order; several devices take one after another in turn."""

    def run_seed(index: int) -> Seed:
        scoring = scorings[index % len(scorings)]
        scoring.subject.compute.enter()
        seed = scoring.seed(index, _within(progress, index, drawn))
        if index == 0 and first is not None:
            first(seed)
        # A programmed chip is a quarter of a gigabyte and part of reference cycles; on a device
        # what is kept of it would take the room of the next one, and of other processes.
        release_heap()
        scoring.subject.compute.forget()
        return seed

    if len(scorings) > 1:
        turns = [range(start, drawn, len(scorings)) for start in range(min(len(scorings), drawn))]
        with ThreadPoolExecutor(len(turns)) as pool:
            each = pool.map(lambda turn: [(index, run_seed(index)) for index in turn], turns)
            found = {index: seed for some in each for index, seed in some}
        return [found[index] for index in range(drawn)]
    # Chips share nothing that is written, and compiled kernels release the interpreter.
    together = min(threads, drawn) if scorings[0].subject.compute.seeds_at_once else 1
    with ThreadPoolExecutor(max(1, together)) as pool:
        return list(pool.map(run_seed, range(drawn)))


def _unigram(subject: ModelOnText) -> float:
    """Return the perplexity of a unigram model of the calibration text."""
    return subject.stages.watch().recall(
        "unigram",
        {**subject.scored, "text": digest_of(subject.texts.calibration)},
        lambda: unigram_ppl(subject.checkpoint, subject.texts, subject.windows),
    )


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
