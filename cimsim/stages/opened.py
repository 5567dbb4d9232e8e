"""What a chip finds open in its process: devices with the model's weights, scores of the clean one.

Chips that run one after another in a process read the same weights, and the clean model scores the
same text for all of them. Neither knows of a chip, so that no number depends on which was first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

from cimsim.cache import NO_CACHE, Stages
from cimsim.config.chip import Run
from cimsim.model import ScoreResult
from cimsim.stages.compute import Compute, open_shared
from cimsim.stages.heap import release_heap

__all__ = ["Opened"]

_COMPUTES = "computes"  # on the shelf: those of one model, as two may not fit a device


class Opened:
    """Stages that are kept, and what is open.

    Args:
        stages: computes stages, or finds what they gave before.
        shelf: of the process; None begins with nothing.

    Attributes:
        stages: as given.
    """

    def __init__(self, stages: Stages = NO_CACHE, shelf: dict[Hashable, Any] | None = None) -> None:
        self.stages = stages
        self._shelf = {} if shelf is None else shelf

    def computes(self, run: Run, seeds: int, layers: int, model_hash: str) -> tuple[Compute, ...]:
        """Return what computes a run, with the model's weights where the last chip left them.

        Args:
            run: names the devices.
            seeds: chip seeds that are drawn.
            layers: of the model.
            model_hash: of its files.

        Raises:
            CimsimError: as `open_shared`.
        """
        wanted = (
            run.backend, run.devices, run.precision, run.seed, run.device_gb, seeds, layers,
            model_hash,
        )  # fmt: skip
        known, computes = self._shelf.pop(_COMPUTES, (None, ()))
        if known != wanted:
            computes = ()
        if run.backend == "torch":
            release_heap()  # weights of another model, and what is left of the last chip
        for compute in computes:
            compute.forget()  # cells, if that chip failed
        self._shelf[_COMPUTES] = wanted, computes or open_shared(run, seeds, layers)
        return cast(tuple[Compute, ...], self._shelf[_COMPUTES][1])

    def clean(self, of: str, score: Callable[[], ScoreResult]) -> ScoreResult:
        """Return a score of the clean model.

        Args:
            of: digest of the model, of what computes and of the text.
            score: finds it.
        """
        key = ("clean", of)
        if key not in self._shelf:
            self._shelf[key] = score()
        return cast(ScoreResult, self._shelf[key])
