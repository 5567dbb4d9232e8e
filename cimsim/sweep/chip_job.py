"""One chip with one model as a task."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from cimsim.config import ChipConfig
from cimsim.pipeline import run_chip
from cimsim.results import ChipResult
from cimsim.stages.models import Texts
from cimsim.sweep.executor import PlanTask, Workplace

__all__ = ["ChipJob"]


@dataclass(frozen=True)
class ChipJob(PlanTask[ChipResult]):
    """Runs one model on one chip; fields are the arguments of `run_chip`."""

    config: ChipConfig
    model: str
    texts: Texts
    correction: Path | None = None
    force: bool = False
    threads: int = 1

    @property
    def affinity(self) -> tuple[Hashable, ...]:
        """The model."""
        return (self.model,)

    def run(self, place: Workplace) -> ChipResult:
        """Run the pipeline."""
        return run_chip(
            self.config,
            self.model,
            self.texts,
            name=self.name,
            correction=self.correction,
            force=self.force,
            threads=self.threads,
            progress=place,
        )
