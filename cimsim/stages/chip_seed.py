"""One chip seed: programmed, scored, calibrated and scored again, as stages of a run.

A chip is programmed when the first of its stages must be computed, and not at all if their
values are known. Stages read the chip through views (`cimsim.cache`), so that what they did not
read does not decide whether they are computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock

from cimsim.cache import NO_CACHE
from cimsim.cache.stages import Watched
from cimsim.chip import LogicalCopies
from cimsim.config import ChipConfig
from cimsim.mac import AdcRange
from cimsim.model import Correction
from cimsim.results.packed import digest_of
from cimsim.stages.calibration_text import calibration_text, has_shards
from cimsim.stages.coupled import CoupledChip
from cimsim.stages.identity import chip_identity
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.recoding import Recoding
from cimsim.stages.scoring import (
    Noisy,
    Seed,
    Treated,
    calibration_method,
    calibration_task,
    score_ideal,
    score_noisy,
    score_treated,
)
from cimsim.stages.subject import ModelOnText
from cimsim.workload.matrix import MatrixId
from romer import CalibrationText, CleanReference, Task, steps_of

__all__ = ["ChipSeeds"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ChipSeeds:
    """All chip seeds of one configuration.

    Attributes:
        config: the chip.
        subject: the model and its texts.
        holds: what the chip holds.
        ranges: ADC ranges, shared by all seeds.
        given: a saved correction to apply instead of calibrating, or None.
        coupled: computes numbers and time together, None for numbers alone.
    """

    config: ChipConfig
    subject: ModelOnText
    holds: LogicalCopies
    ranges: Mapping[MatrixId, AdcRange]
    given: Correction | None
    coupled: CoupledChip | None
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def ideal(self) -> float:
        """Return the perplexity with exact integer products at the chip's bits."""
        stage, subject = self._watch(), self.subject
        return stage.recall(
            "ideal",
            self._whole,
            lambda: score_ideal(
                stage.views["config"],
                subject.decoder,
                subject.digital,
                stage.views["copies"],
                self.ranges,
                subject.windows,
                subject.compute,
            ),
        )

    def seed(self, index: int, progress: Progress) -> Seed:
        """Return one chip seed before and after calibration.

        Args:
            index: the seed.
            progress: told (stage, share done).
        """
        # Numbers of a coupled run depend on time, and so on everything.
        stage = self._watch() if self.coupled is None else NO_CACHE.watch(
            config=self.config, copies=self.holds
        )  # fmt: skip
        chip = _Programmed(self, stage, index, progress)
        whole = {**self._whole, "chip_seed": index}
        noisy = stage.recall("noisy", whole, chip.noisy)
        treated = stage.recall("calibrated", {**whole, **self._wanted}, chip.treated)
        if self.given is None:
            # A correction is made for a whole chip, also for what its numbers do not depend on.
            made_for = chip_identity(self.config, index)
            correction = replace(treated.calibration.correction, chip_hash=made_for)
            calibration = replace(treated.calibration, correction=correction)
            treated = replace(treated, calibration=calibration)
        return Seed.of(index, noisy, treated)

    def _watch(self) -> Watched:
        return self.subject.stages.watch(config=self.config, copies=self.holds)

    @cached_property
    def _whole(self) -> dict[str, object]:
        """What stages depend on beside what they read of the chip."""
        return {**self.subject.scored, "ranges": digest_of(self.ranges)}

    @cached_property
    def _wanted(self) -> dict[str, object]:
        """What calibration depends on beside that: its text, or a given correction."""
        if self.given is not None:
            return {"given": self.given}
        text, config = digest_of(self.subject.texts.calibration), self.config
        more = config.calibration.accept_tokens
        wanted = (text, config.calibration.tokens, config.workload.context)
        own = {"shards": config.run.chip_seeds} if has_shards(config) else {}
        return {"text": wanted if more is None else (*wanted, more), **own}

    def calibration(self, index: int) -> tuple[CalibrationText, CleanReference]:
        """Return a seed's calibration text and the clean model on it: measured when needed."""
        if has_shards(self.config):
            return self._measured(index)
        with self._lock:
            return self._shared

    @cached_property
    def _shared(self) -> tuple[CalibrationText, CleanReference]:
        return self._measured(None)

    def _measured(self, index: int | None) -> tuple[CalibrationText, CleanReference]:
        """Return the text of all seeds, or the documents of one: every so many-th."""
        config, subject = self.config, self.subject
        text = calibration_text(config, subject.checkpoint, subject.texts, index)
        needed = bool(steps_of(calibration_method(config)))
        read = text if needed else replace(text, fit=text.fit[:1])

        def measure() -> CleanReference:
            return CleanReference.measure(subject.decoder, subject.digital, read)

        if index is not None:
            return text, measure()
        of = digest_of({**subject.model, "read": read})
        return text, subject.opened.reference(of, subject.compute, measure)


class _Programmed:
    """A chip seed that is programmed when it is first used.

    Args:
        seeds: what all seeds share.
        stage: gives views of the chip.
        index: the seed.
        progress: told (stage, share done).
    """

    def __init__(self, seeds: ChipSeeds, stage: Watched, index: int, progress: Progress) -> None:
        self._seeds, self._index, self._progress = seeds, index, progress
        self._config: ChipConfig = stage.views["config"]
        self._holds: LogicalCopies = stage.views["copies"]

    @cached_property
    def _deployment(self) -> ProgrammedChip:
        self._progress("programming", 0.0)
        subject, config = self._seeds.subject, self._config
        chip = ProgrammedChip.program(
            config.tile,
            config.technology.temperature_c,
            subject.checkpoint,
            self._holds,
            self._seeds.ranges,
            subject.digital,
            self._index,
            subject.compute,
        )
        recoding = Recoding(config, subject.decoder, self._holds, subject.profile, subject.compute)
        return replace(chip, recoding=recoding)

    def noisy(self) -> Noisy:
        seeds, subject = self._seeds, self._seeds.subject
        return score_noisy(
            self._config, subject.decoder, self._deployment, subject.windows, seeds.coupled,
            self._progress,
        )  # fmt: skip

    def treated(self) -> Treated:
        seeds, subject = self._seeds, self._seeds.subject
        wanted: Correction | Task
        if seeds.given is None:
            text, reference = seeds.calibration(self._index)
            wanted = calibration_task(
                self._config, subject.decoder, self._deployment, reference, text, ""
            )
        else:
            wanted = seeds.given
        return score_treated(
            self._config, subject.decoder, self._deployment, subject.windows, wanted,
            seeds.coupled, self._progress,
        )  # fmt: skip
