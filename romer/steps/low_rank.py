"""Low-rank digital correction of attention and shared matrices.

The error of a programmed matrix is W~ = W + E. On the inputs that occur, the best
correction of rank r is the leading part of the regression of the residual t - y on x:
B = (X^T X + mu I)^-1 X^T (T - Y), projected on the r leading right singular vectors of
X B (reduced-rank regression). It is digital: n_in r + r n_out MACs a token, so only
matrices that every token passes get one, with the rank that the budget allows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction, LowRank
from cimsim.workload.program import MatrixId
from romer.record import RouterRecord
from romer.sequential import fit_in_one_pass
from romer.task import Task

__all__ = ["MAC_SHARE", "fit_low_rank"]

Array = NDArray[np.float32]

MAC_SHARE = 0.05  # digital MACs allowed, as a share of the active MACs of a token
RIDGE = 0.05  # mu, in units of the mean square of an input
CORRECTED_PARTS = ("attention", "shared")


def fit_low_rank(task: Task, correction: Correction, noisy: RouterRecord) -> Correction:
    """Fit a low-rank term for every attention and shared matrix within the MAC budget."""
    del noisy
    rank = _affordable_rank(task)
    if rank < 1:
        return correction
    found: dict[MatrixId, LowRank] = {}
    columns = correction.columns

    def fit(matrix: MatrixId, x: Array, y: Array, target: Array) -> Array:
        known = columns.get(matrix)
        if matrix.part in CORRECTED_PARTS and len(x) >= 2 * rank:
            wanted: NDArray[np.float64] = target.astype(np.float64)
            if known is not None:
                # y' = scale (y + x U V) + offset: the residual is wanted before scaling.
                wanted = (wanted - known.offset) / known.scale
            found[matrix] = _fit(x.astype(np.float64), wanted - y, rank)
            y = y + (x @ found[matrix].u) @ found[matrix].v
        return y if known is None else y * known.scale + known.offset

    fit_in_one_pass(task, correction, fit)
    return replace(correction, low_rank=found)


def _affordable_rank(task: Task) -> int:
    program = task.decoder.checkpoint.program
    budget = MAC_SHARE * program.linear_macs_per_token()
    widths = sum(
        m.n_in + m.n_out
        for m in program.matrices()
        if m.id.part in CORRECTED_PARTS and m.id.part in task.analog
    )
    return int(budget // widths) if widths else 0


def _fit(x: NDArray[np.float64], residual: NDArray[np.float64], rank: int) -> LowRank:
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram)
    full = np.linalg.solve(gram, x.T @ residual)
    _, vectors = np.linalg.eigh(full.T @ (x.T @ (x @ full)))
    basis = vectors[:, ::-1][:, :rank]
    return LowRank((full @ basis).astype(np.float32), basis.T.astype(np.float32))
