"""What a chip finds open in its process: devices with the model's weights, what the clean one says.

Chips that run one after another in a process read the same weights, and the clean model scores the
same text for all of them and is what all of them are calibrated against. Neither knows of a chip,
so that no number depends on which was first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

from cimsim.cache import NO_CACHE, Stages
from cimsim.config.chip import Run
from cimsim.model import ScoreResult
from cimsim.stages.compute import Compute, open_shared
from cimsim.stages.heap import release_heap
from romer import CleanReference

__all__ = ["Opened"]

_COMPUTES = "computes"  # on the shelf: those of one model, as two may not fit a device
_REFERENCES = "references"  # on the shelf: one of each of them, as predictions take gigabytes


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
            self._shelf.pop(_REFERENCES, None)  # it holds what computed it
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

    def reference(
        self, of: str, compute: Compute, measure: Callable[[], CleanReference]
    ) -> CleanReference:
        """Return what the clean model says of calibration text; the last text's is kept.

        Args:
            of: digest of the model, of what computes and of the text.
            compute: where it is measured, and its predictions lie.
            measure: finds it.
        """
        kept = self._shelf.setdefault(_REFERENCES, {})
        if compute not in kept or kept[compute][0] != of:
            kept.pop(compute, None)  # before the next one comes
            kept[compute] = of, measure()
        return cast(CleanReference, kept[compute][1])
