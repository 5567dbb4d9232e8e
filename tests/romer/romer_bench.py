"""Helpers of the tests of romer: a deployment of plain arrays behind the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Checkpoint, Correction, Decoder, FloatLinear
from cimsim.model.kernels.product import product
from cimsim.workload.matrix import MatrixId, TokenKeys
from cimsim.zoo import calibration_text
from romer import CalibrationText, CleanReference, Task, split_documents
from romer.deployment import BroughtUp

CONTEXT = 48
TOKENS = 30 * CONTEXT
ANALOG = ("attention", "router", "experts", "shared")


class ArrayLinear:
    """Products with clean weights plus an error that is fixed for each matrix."""

    def __init__(self, checkpoint: Checkpoint, error: float, swapped: dict[MatrixId, MatrixId]):
        self._checkpoint, self._error, self._swapped = checkpoint, error, swapped
        self._weights: dict[MatrixId, NDArray[np.float32]] = {}

    def __call__(
        self, matrix: MatrixId, x: NDArray[np.float32], tokens: TokenKeys
    ) -> NDArray[np.float32]:
        del tokens
        if matrix not in self._weights:
            weight = self._checkpoint.matrix(self._swapped.get(matrix, matrix))
            if matrix.part in ANALOG and self._error:
                draw = np.random.default_rng(abs(hash((matrix.layer, matrix.expert))) % 2**31)
                size = self._error * float(np.std(weight))
                weight = weight + size * draw.standard_normal(weight.shape).astype(np.float32)
            self._weights[matrix] = np.ascontiguousarray(weight, dtype=np.float32)
        return product(np.ascontiguousarray(x), self._weights[matrix])


class ArrayDeployment:
    """A chip whose only noise is a frozen error of relative size `error`; nothing is brought up."""

    recodes = False

    def __init__(self, checkpoint: Checkpoint, error: float) -> None:
        self._checkpoint, self._error = checkpoint, error
        self.passes = 0

    def linear(self, correction: Correction | None, *, read_seed: int, mode: str) -> ArrayLinear:
        del read_seed, mode
        self.passes += 1
        swapped = {}
        for r in () if correction is None else correction.rewrites:
            for role in ("gate", "up", "down"):
                slot = MatrixId(r.layer, role, r.slot)
                swapped[slot] = MatrixId(r.layer, role, r.source)
        return ArrayLinear(self._checkpoint, self._error, swapped)

    def bring_up(
        self,
        correction: Correction | None,
        *,
        read_seed: int,
        mode: str,
        which: Set[MatrixId] | None = None,
    ) -> Iterator[BroughtUp]:
        del correction, read_seed, mode, which
        return iter(())

    def copies(self, layer: int, expert: int, part: str = "experts") -> int:
        del layer, expert, part
        return 1

    def room_for(self, parts: Sequence[str]) -> int:
        del parts
        return 0


@dataclass(frozen=True)
class Bench:
    """Clean model, text and reference."""

    checkpoint: Checkpoint
    decoder: Decoder
    digital: FloatLinear
    text: CalibrationText
    reference: CleanReference

    def task(self, error: float, text: CalibrationText | None = None) -> Task:
        """Return a task on a chip of some relative weight error."""
        return Task(
            decoder=self.decoder,
            clean=self.digital,
            reference=self.reference,
            deployment=ArrayDeployment(self.checkpoint, error),
            text=text or self.text,
            mode="folded",
            read_seeds=(1, 2),
            analog=ANALOG,
            model_hash=self.checkpoint.hash,
            chip_hash="chip",
            min_gain_nats=1e-3,
        )


def make_bench(checkpoint: Checkpoint) -> Bench:
    """Open everything once."""
    decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
    text = split_documents(checkpoint, calibration_text(), TOKENS, CONTEXT)
    return Bench(checkpoint, decoder, digital, text, CleanReference.measure(decoder, digital, text))
