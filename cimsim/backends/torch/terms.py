"""Digital corrections of the experts of a layer as tensors, a kind of matrix together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.experts import Terms
from cimsim.backends.torch.sending import sent
from cimsim.model.linear import ExpertCall
from cimsim.workload.matrix import MatrixId

__all__ = ["columns_of", "registers_of", "terms_of"]


def terms_of(call: ExpertCall, chosen: Sequence[int], device: torch.device) -> Terms:
    """Return the digital corrections of some experts; low-rank terms are those of downs alone."""
    matrices = [[m.id for m in call.experts[e]] for e in chosen]
    columns = down = None
    if any(m in call.columns for three in matrices for m in three):
        shapes = [(m.n_in, m.n_out) for m in call.experts[chosen[0]]]
        per_role = [
            columns_of(call, [three[role] for three in matrices], shapes[role][1], device)
            for role in range(3)
        ]
        first = [torch.stack([per_role[0][i], per_role[1][i]], 1) for i in range(2)]
        columns = (first[0], first[1]), (per_role[2][0], per_role[2][1])
    if any(three[2] in call.low_rank for three in matrices):
        down = _low_rank_of(call, [three[2] for three in matrices], device)
    trims = None
    if any(m in call.trims for three in matrices for m in three):
        gate, up, last = (
            registers_of(call, [three[role] for three in matrices], n_out, device)
            for role, n_out in enumerate(m.n_out for m in call.experts[chosen[0]])
        )
        trims = (torch.stack([gate[0], up[0]], 1), torch.stack([gate[1], up[1]], 1)), last
    return Terms(columns, down, trims)


def registers_of(
    call: ExpertCall, matrices: Sequence[MatrixId], n_out: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return gains and offsets, [experts, n_out]; 1 and 0 where a copy has no registers."""
    none = torch.ones(n_out, device=device), torch.zeros(n_out, device=device)
    known = [call.trims.get(matrix) for matrix in matrices]
    both: list[tuple[Any, Any]] = [none if r is None else (r.gain, r.offset) for r in known]
    return torch.stack([g for g, _ in both]), torch.stack([o for _, o in both])


def columns_of(
    call: ExpertCall, matrices: Sequence[MatrixId], n_out: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return scales and offsets, [experts, n_out]; 1 and 0 where there is no correction."""
    scale = np.ones((len(matrices), n_out), dtype=np.float32)
    offset = np.zeros_like(scale)
    for row, matrix in enumerate(matrices):
        if matrix in call.columns:
            scale[row], offset[row] = call.columns[matrix].scale, call.columns[matrix].offset
    return sent(scale, device), sent(offset, device)


def _low_rank_of(
    call: ExpertCall, matrices: Sequence[MatrixId], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return factors [experts, width, rank] and [experts, rank, d_model]; 0 without."""
    known = [call.low_rank.get(matrix) for matrix in matrices]
    rank = max(term.u.shape[1] for term in known if term is not None)
    some = next(term for term in known if term is not None)
    u = np.zeros((len(known), some.u.shape[0], rank), dtype=np.float32)
    v = np.zeros((len(known), rank, some.v.shape[1]), dtype=np.float32)
    for row, term in enumerate(known):
        if term is not None:
            u[row, :, : term.u.shape[1]], v[row, : term.v.shape[0]] = term.u, term.v
    return sent(u, device), sent(v, device)
