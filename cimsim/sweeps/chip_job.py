"""One chip with one model as a task, whose whole result is a stage as well."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from cimsim.cache import NO_CACHE, open_cache
from cimsim.config import ChipConfig
from cimsim.model.tensor_file import KnownDigest, remember_digest
from cimsim.pipeline import run_chip
from cimsim.results import ChipResult
from cimsim.stages.compute import computed_by
from cimsim.stages.kept import KEPT
from cimsim.stages.models import Texts, open_model
from cimsim.stages.opened import Opened
from cimsim.stages.shapes import identity_of
from cimsim.sweeps.executor import PlanTask, Workplace
from cimsim.workload.shapes import SHAPES

__all__ = ["ChipJob"]


@dataclass(frozen=True)
class ChipJob(PlanTask[ChipResult]):
    """Runs one model on one chip; other fields are arguments of `run_chip`.

    Attributes:
        cache: folder of the stage cache, None to compute everything.
        digests: of the model's files, which the process that runs it need not read through.
    """

    config: ChipConfig
    model: str
    texts: Texts
    correction: Path | None = None
    force: bool = False
    threads: int = 1
    cache: Path | None = None
    digests: tuple[KnownDigest, ...] = ()

    @property
    def affinity(self) -> tuple[Hashable, ...]:
        """The model."""
        return (self.model,)

    def run(self, place: Workplace) -> ChipResult:
        """Run the pipeline, as far as its stages are not known."""
        started = time.monotonic()
        for known in self.digests:
            remember_digest(known)
        stages = NO_CACHE if self.cache is None else open_cache(KEPT, self.cache)
        found = stages.watch().recall(
            "chip",
            {} if self.cache is None else self._whole(),
            lambda: run_chip(
                self.config,
                self.model,
                self.texts,
                correction=self.correction,
                force=self.force,
                threads=self.threads,
                opened=Opened(stages, place.kept),
                progress=place,
            ),
        )
        return replace(found, name=self.name, seconds=time.monotonic() - started)

    def _whole(self) -> dict[str, object]:
        """What decides the result: everything that is given, but how it is computed."""
        given = self.correction
        return {
            "config": self.config,
            "model": open_model(self.model).hash,
            "computed": computed_by(self.config),
            "texts": self.texts,
            "correction": given and (hashlib.sha256(given.read_bytes()).hexdigest(), self.force),
            "shapes": SHAPES,
            "shape": identity_of(self.config.workload.shape),
        }
