"""Digital terms after each analog matrix: low rank, then scale and offset per column.

y' = scale (y + x U V) + offset, all fitted in one pass over the FIT text against the clean
product of the same noisy input, matrix after matrix, so that each fit sees the inputs
that the corrected matrices before it give. A routed expert that fewer tokens reached than the
matrix has inputs gets no low-rank term: its regression would be underdetermined.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cimsim.model import ColumnCorrection, Correction, LowRank
from cimsim.workload.matrix import MatrixId
from romer.record import Routers
from romer.registry import register_step
from romer.sequential import fit_in_one_pass
from romer.steps.columns import LEAST_TOKENS, fit_scale_and_offset
from romer.steps.low_rank import fit_reduced_rank, least_tokens, plan_ranks
from romer.task import Task

__all__ = ["fit_columns", "fit_low_rank", "fit_terms"]

Array = Any  # NumPy's, or a tensor where fits are computed on a device


@register_step("columns")
def fit_columns(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Fit scale and offset of every column of every analog matrix."""
    del routers
    return _fit(task, correction, {})


@register_step("low_rank")
def fit_low_rank(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Fit low-rank terms within the MAC budget; known column corrections are refitted."""
    del routers
    ranks = plan_ranks(task.decoder.checkpoint.program, task.analog)
    return _fit(task, correction, ranks, columns=bool(correction.columns))


@register_step("digital_terms")
def fit_terms(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Fit low-rank terms and columns together."""
    del routers
    return _fit(task, correction, plan_ranks(task.decoder.checkpoint.program, task.analog))


def _fit(
    task: Task, correction: Correction, ranks: dict[MatrixId, int], *, columns: bool = True
) -> Correction:
    scales: dict[MatrixId, ColumnCorrection] = {}
    terms: dict[MatrixId, LowRank] = {}
    algebra = task.algebra

    def fit(matrix: MatrixId, x: Array, y: Array, target: Array) -> Array:
        rank = ranks.get(matrix, 0)
        if rank and len(x) >= least_tokens(matrix, rank, x.shape[1]):
            term = terms[matrix] = fit_reduced_rank(x, target - y, rank, algebra)
            y = y + algebra.product(algebra.product(x, term.u), term.v)
        if columns and len(x) >= LEAST_TOKENS:
            column = scales[matrix] = fit_scale_and_offset(y, target, algebra)
            y = y * column.scale + column.offset
        return y

    fit_in_one_pass(task, correction, fit)
    # Together at the end: a device would be waited for at every matrix.
    host = algebra.host
    return replace(
        correction,
        columns={m: ColumnCorrection(host(c.scale), host(c.offset)) for m, c in scales.items()},
        low_rank={m: LowRank(host(t.u), host(t.v)) for m, t in terms.items()},
    )
