"""Fitting matrix by matrix in one pass: each fit sees what the fits before it left.

The whole FIT text goes through the decoder as one batch, so every matrix is asked for once
with all its rows. At that moment the noisy input x, the chip's product y and the clean
product x W of the same input are at hand: a fit is made and the corrected product goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cimsim.model import Correction, Linear, RouterRefit
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer.task import Task

__all__ = ["Fit", "fit_in_one_pass"]

Array = Any  # NumPy's, or a tensor where fits are computed on a device

# (matrix, x, y of the chip, clean x W) -> corrected y; keeps its own record of the fit.
Fit = Callable[[MatrixId, Array, Array, Array], Array]


class _Fitter:
    """A `Linear` that fits each analog matrix as it is asked for."""

    def __init__(self, task: Task, chip: Linear, fit: Fit, refits: Mapping[int, RouterRefit]):
        self._task, self._chip, self._fit = task, chip, fit
        self._routers = {MatrixId(layer, "router"): r for layer, r in refits.items()}

    def __call__(self, matrix: MatrixId, x: Array, tokens: TokenKeys) -> Array:
        y = self._chip(matrix, x, tokens)
        if matrix.part not in self._task.analog:
            return y
        refit, task = self._routers.get(matrix), self._task
        backend, algebra = task.decoder.backend, task.algebra
        seen = algebra.taken(x, backend)
        if refit is None:
            target = algebra.taken(task.clean(matrix, x, tokens), backend)
        else:
            target = algebra.product(seen, algebra.array(refit.weight))
        there = backend.of_layer(matrix.layer)
        return there.array(self._fit(matrix, seen, algebra.taken(y, backend), target))


def fit_in_one_pass(task: Task, correction: Correction, fit: Fit) -> None:
    """Run the FIT text through the chip, handing every analog matrix to `fit` once.

    A router that was refitted and reprogrammed has its new weights as its target.

    Args:
        task: what the calibrator sees.
        correction: what is already corrected.
        fit: called for every matrix that some token reaches.
    """
    windows = task.text.fit
    chip = task.linear(correction)
    task.passed.tokens += windows.size
    # Columns and low-rank terms are what is being fitted: the other steps stay.
    base = replace(correction, columns={}, low_rank={})
    fitter = _Fitter(task, chip, fit, correction.router_refit)
    interpreter = task.decoder.interpreter(fitter, correction=base)
    flight = task.decoder.flight(windows, np.arange(len(windows), dtype=np.int64))
    head = len(task.decoder.program.operations) - 1
    interpreter.advance(flight, head + 1 if "head" in task.analog else head)
