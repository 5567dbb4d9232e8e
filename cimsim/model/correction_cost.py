"""What a correction costs: digital operations per token, cells written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.model.correction import Correction
from cimsim.model.correction_steps import Replica
from cimsim.workload.matrix import NO_EXPERT, Matrix, MatrixId
from cimsim.workload.program import Program

__all__ = ["DigitalOps", "digital_ops_per_token", "rewritten_matrices"]


@dataclass(frozen=True)
class DigitalOps:
    """Digital work that a correction adds to one token, in the mean.

    Attributes:
        macs: multiply-accumulates.
        elements: element operations (multiply, add, compare).
    """

    macs: float
    elements: float


def digital_ops_per_token(
    correction: Correction,
    program: Program,
    load: Mapping[int, NDArray[np.float64]] | None = None,
) -> DigitalOps:
    """Return the digital work that a correction adds to one token.

    Router: affine 1 per term and expert, quantile map log2(knots) + 2 per expert, clamp and
    margin a sort (log2 E per expert) and 2 per expert. Matrices: 2 per output for scale and
    offset, and for a trim (the greatest input is known to its quantiser); rank x (n_in + n_out)
    MACs and 1 per output for a low-rank term; all times the share of tokens that visit the
    matrix. Averaging: 1 per output and further copy. Norm
    gains are folded into the norm. Offloaded products replace analog ones and are charged
    where they run.

    Args:
        correction: what calibration changed.
        program: the model's operations and shapes.
        load: layer to float64 [experts], the share of tokens that visit an expert; an even
            spread (k / E) where absent.
    """
    macs = elements = 0.0
    for layer in program.moe_layers:
        n = len(program.layers[layer].experts)
        elements += n * ((layer in correction.router_scale) + (layer in correction.router_offset))
        sorts = (layer in correction.router_clamp) + (layer in correction.router_margin)
        elements += sorts * n * (math.ceil(math.log2(max(n, 2))) + 2)
        quantiles = correction.router_quantiles.get(layer)
        if quantiles is not None:
            elements += n * (math.ceil(math.log2(max(quantiles.x.shape[1], 2))) + 2)
        refit = correction.router_refit.get(layer)
        if refit is not None and refit.where == "digital":
            macs += refit.weight.size
        elements += sum(len(group.slots) - 1 for group in correction.copy_groups(layer))
    for matrix, trim in correction.trims.items():
        elements += _share(matrix, program, load) * 2 * trim.gain.shape[1]
    for matrix, columns in correction.columns.items():
        elements += _share(matrix, program, load) * 2 * columns.scale.size
    for replica in correction.replicas:
        for copied in _unit(replica, program):
            elements += _share(copied.id, program, load) * (replica.copies - 1) * copied.n_out
    for matrix, low_rank in correction.low_rank.items():
        share = _share(matrix, program, load)
        macs += share * (low_rank.u.size + low_rank.v.size)
        elements += share * low_rank.v.shape[1]
    return DigitalOps(macs, elements)


def _share(
    matrix: MatrixId, program: Program, load: Mapping[int, NDArray[np.float64]] | None
) -> float:
    if matrix.routed == NO_EXPERT:
        return 1.0
    if load is not None and matrix.layer in load:
        return float(load[matrix.layer][matrix.expert])
    layer = program.layers[matrix.layer]
    return layer.top_k / len(layer.experts)


def _unit(replica: Replica, program: Program) -> tuple[Matrix, ...]:
    """Return the matrices that are stored several times."""
    layer = program.layers[replica.layer]
    if replica.part == "experts":
        return layer.experts[replica.expert]
    return tuple(m for m in layer.matrices() if m.id.part == replica.part)


def rewritten_matrices(correction: Correction, program: Program) -> list[Matrix]:
    """Return the matrices that are programmed beyond the deployment's own, with repetition.

    Rewritten slots, reprogrammed routers, and every copy of a replica but the first; all matrices
    where columns are clipped.
    """
    out: list[Matrix] = list(program.matrices()) if correction.clip_lsb else []
    for rewrite in correction.rewrites:
        out.extend(program.layers[rewrite.layer].experts[rewrite.slot])
    for layer, refit in correction.router_refit.items():
        if refit.where == "reprogrammed":
            out.append(program.layers[layer].router[0])
    for replica in correction.replicas:
        out.extend(_unit(replica, program) * (replica.copies - 1))
    return out
