"""Low-rank digital correction of a matrix, within a budget of digital MACs.

The error of a programmed matrix is W~ = W + E. On the inputs that occur, the best
correction of rank r is the leading part of the regression of the residual t - y on x:
B = (X^T X + mu I)^-1 X^T (T - Y), projected on the r directions of X B with the most
energy (reduced-rank regression, Izenman 1975). It costs n_in r + r n_out MACs per token.

Ranks are shared out over roles by fixed proportions, found on development chips, and scaled
together until the budget is spent. A router is narrow and decides where a token goes; an
expert's down projection has few inputs, so a small rank reaches far; errors of q and k
pass through a softmax and matter less than those of v and o.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cimsim.model import Correction, LowRank
from cimsim.workload.matrix import MatrixId
from cimsim.workload.program import Program
from romer.algebra import HOST, Algebra
from romer.steps.columns import LEAST_TOKENS

__all__ = [
    "MAC_SHARE",
    "fit_reduced_rank",
    "least_tokens",
    "plan_ranks",
    "unfitted_experts",
    "unfitted_sentence",
]

Array = Any  # NumPy's, or a tensor where fits are computed on a device

NAMED = 4  # layers whose experts a sentence lists
MAC_SHARE = 0.05  # digital MACs allowed, as a share of the active MACs of a token
RIDGE = 0.002  # mu, in units of the mean square of an input

PROPORTIONS = {
    "router": 16,
    "q": 6,
    "k": 6,
    "v": 12,
    "o": 12,
    "down": 4,
    "shared_gate": 8,
    "shared_up": 8,
    "shared_down": 12,
    "dense_gate": 6,
    "dense_up": 6,
    "dense_down": 12,
}


def plan_ranks(
    program: Program, analog: Sequence[str], share: float = MAC_SHARE
) -> dict[MatrixId, int]:
    """Return the rank of every matrix that gets a term; together they cost the budget.

    Args:
        program: shapes of the model.
        analog: parts of the model that are on crossbars.
        share: budget as a share of the active MACs of a token in all matrices.
    """
    budget = share * program.linear_macs_per_token()
    low, high = 0.0, 64.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _cost(program, _ranks(program, analog, middle)) <= budget:
            low = middle
        else:
            high = middle
    return _ranks(program, analog, low)


def least_tokens(matrix: MatrixId, rank: int, n_in: int) -> int:
    """Return how many tokens a term needs: twice its rank, of a routed expert one an input."""
    least = max(LEAST_TOKENS, 2 * rank)
    return max(least, n_in) if matrix.part == "experts" else least


def unfitted_experts(
    program: Program, analog: Sequence[str], correction: Correction
) -> dict[int, list[int]]:
    """Return the experts of each layer that too few tokens reached for their low-rank term.

    Args:
        program: shapes of the model.
        analog: parts of the model that are on crossbars.
        correction: without any low-rank term nothing was left out.
    """
    found: dict[int, list[int]] = {}
    for matrix in plan_ranks(program, analog) if correction.low_rank else ():
        if matrix.part == "experts" and matrix not in correction.low_rank:
            found.setdefault(matrix.layer, []).append(matrix.expert)
    return found


def unfitted_sentence(found: Mapping[int, Sequence[int]]) -> str:
    """List experts that were not fitted, the first layers' by number."""
    named = [f"layer {layer}: {', '.join(map(str, found[layer]))}" for layer in sorted(found)]
    more = f"; and {len(named) - NAMED} more layers" if len(named) > NAMED else ""
    return (
        f"{sum(map(len, found.values()))} experts have fewer calibration tokens than inputs and "
        f"got no low-rank term ({'; '.join(named[:NAMED])}{more}): calibration.tokens gives more"
    )


def _ranks(program: Program, analog: Sequence[str], factor: float) -> dict[MatrixId, int]:
    ranks = {}
    for matrix in program.matrices():
        wanted = int(factor * PROPORTIONS.get(matrix.id.role, 0))
        rank = min(wanted, matrix.n_in, matrix.n_out)
        if rank and matrix.id.part in analog:
            ranks[matrix.id] = rank
    return ranks


def _cost(program: Program, ranks: dict[MatrixId, int]) -> float:
    """Digital MACs per token, experts at an even load."""
    total = 0.0
    for layer in program.layers:
        routed = layer.top_k / len(layer.experts) if layer.experts else 0.0
        for matrix in layer.matrices():
            used = routed if matrix.id.part == "experts" else 1.0
            total += used * ranks.get(matrix.id, 0) * (matrix.n_in + matrix.n_out)
    return total


def fit_reduced_rank(x: Array, residual: Array, rank: int, algebra: Algebra = HOST) -> LowRank:
    """Return the best rank-r linear prediction of a residual, where it was computed.

    Args:
        x: float32 [n, n_in].
        residual: float32 [n, n_out].
        rank: at most this rank.
        algebra: computes sums and factors.
    """
    factors = algebra.ridged(algebra.gram_matrix(x, x), RIDGE, 1e-12)
    # Energy of the prediction: B^T G B = M^T M with M = L^T B = L^-1 X^T R, G = L L^T.
    energy = factors.half(algebra.gram_matrix(x, residual))
    full = factors.rest(energy)
    n_in, n_out = full.shape
    if rank >= min(n_in, n_out):
        eye = algebra.identity(min(n_in, n_out))
        u, v = (full, eye) if n_out <= n_in else (eye, full)
    else:
        v = algebra.leading_rows(energy, rank)
        u = algebra.multiply(full, v.T)
    return LowRank(algebra.single(u), algebra.single(v))
