"""Fitting matrix by matrix in one pass: each fit sees what the fits before it left.

The whole FIT text goes through the decoder as one batch, so every matrix is asked for once
with all its rows. At that moment the noisy input x, the chip's product y and the clean
product x W of the same input are at hand: a fit is made and the corrected product goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction
from cimsim.model.linear import Linear
from cimsim.workload.program import MatrixId, TokenKeys
from romer.task import Task

__all__ = ["Fit", "fit_in_one_pass"]

Array = NDArray[np.float32]

# (matrix, x, y of the chip, clean x W) -> corrected y; keeps its own record of the fit.
Fit = Callable[[MatrixId, Array, Array, Array], Array]


class _Fitter:
    """A `Linear` that fits each analog matrix as it is asked for."""

    def __init__(self, task: Task, chip: Linear, fit: Fit) -> None:
        self._task, self._chip, self._fit = task, chip, fit

    def __call__(self, matrix: MatrixId, x: Array, tokens: TokenKeys) -> Array:
        y = self._chip(matrix, x, tokens)
        if matrix.part not in self._task.analog or matrix.part == "router":
            return y
        return self._fit(matrix, x, y, self._task.clean(matrix, x, tokens))


def fit_in_one_pass(task: Task, correction: Correction, fit: Fit) -> None:
    """Run the FIT text through the chip, handing every analog matrix to `fit` once.

    Routers are left to the router steps.

    Args:
        task: what the calibrator sees.
        correction: what is already corrected.
        fit: called for every matrix that some token reaches.
    """
    windows = task.text.fit
    count, context = windows.shape
    chip = task.deployment.linear(correction, read_seed=task.read_seeds[0], mode=task.mode)
    # Columns and low-rank terms are what is being fitted: the router's own stay.
    base = replace(correction, columns={}, low_rank={})
    stepper = task.decoder.stepper(_Fitter(task, chip, fit), correction=base)
    sequences = np.arange(count, dtype=np.int64)
    cache = task.decoder.new_cache(sequences, context)
    position = np.tile(np.arange(context, dtype=np.int64), count)
    keys = TokenKeys(np.repeat(sequences, context), position)
    x = stepper.embed(windows.reshape(-1))
    for layer in range(task.decoder.architecture.n_layers):
        x = stepper.attention(layer, x, keys, cache)
        cache.drop(layer)
        normed, routing = stepper.route(layer, x, keys)
        x = stepper.experts(layer, x, normed, routing, keys)
