"""Columns clipped and scaled anew for the error that a bring-up finds, before any other step.

Errors of cells are in LSB of the stored weight, so that whoever makes the LSB smaller makes them
smaller: a digital scale for each column instead of one for the matrix, and a greatest weight below
the greatest there is (`cimsim.mac.clip`). How far to clip depends on how much cells err, which is
read off the chip: with y the outputs of a bring-up's test vectors x behind gain and offset of their
columns, t the exact ones, a stored weight is off by ::

    e_j^2 = sum (y - t)^2 / (LSB_j^2 sum |x|^2)

by column, in LSB. The median over all columns is taken, to half an octave, so that what chance adds
decides nothing. The whole model is written once more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction
from romer.exact_sums import column_products
from romer.record import Routers
from romer.registry import register_step
from romer.steps.trim import fit_trim, read_vectors
from romer.task import Task

__all__ = ["STEPS_PER_OCTAVE", "clip_columns", "half_octave", "measured_error_lsb"]

STEPS_PER_OCTAVE = 2
LEAST_LSB = 0.125  # below it rounding decides


@register_step("clip_columns")
def clip_columns(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Write the model anew, every column clipped for the error of its cells, with its own scale."""
    del routers
    if not task.deployment.recodes or correction.clip_lsb:
        return correction
    error_lsb = measured_error_lsb(task)
    if error_lsb is None:
        return correction
    # What was fitted to the old cells no longer holds.
    return replace(correction, clip_lsb=half_octave(error_lsb), trims={}, columns={}, low_rank={})


def half_octave(error_lsb: float) -> float:
    """Return the nearest power of the square root of 2, `LEAST_LSB` or more."""
    octaves = np.log2(max(error_lsb, LEAST_LSB))
    return float(2.0 ** (np.round(octaves * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE))


def measured_error_lsb(task: Task) -> float | None:
    """Return what a stored weight is off by, in LSB, median over columns; None if none is read."""
    found: list[NDArray[np.float64]] = []
    for copy, x, y, target in read_vectors(task, None):
        gain, offset = fit_trim(y, target)
        left = gain * y + offset - target
        power = float(column_products(x, x).sum())
        square = column_products(left, left) / (copy.lsb().astype(np.float64) ** 2 * power)
        found.append(np.sqrt(square))
    return float(np.median(np.concatenate(found))) if found else None
