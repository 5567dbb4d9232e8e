"""Whether a correction fits a model: hashes, places, shapes, values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model.correction import Correction
from cimsim.workload.matrix import NO_EXPERT, Matrix, MatrixId
from cimsim.workload.program import Layer, Program

__all__ = ["check_correction"]

Array = NDArray[np.float32]


def check_correction(correction: Correction, program: Program, model_hash: str) -> None:
    """Refuse a correction that was made for another model or does not fit this one.

    Args:
        correction: what calibration changed.
        program: the model's operations and shapes.
        model_hash: `Checkpoint.hash` of the model.

    Raises:
        CimsimError: naming the step at fault.
    """
    if correction.model_hash != model_hash:
        raise CimsimError(
            f"the correction {correction.method!r} was made for another model",
            value=correction.model_hash[:12],
            allowed=model_hash[:12],
        )
    for name, array in correction.tensors().items():
        if not np.isfinite(array).all():
            raise CimsimError("a correction is not finite", key=name)
    _check_router(correction, program)
    _check_matrices(correction, {m.id: m for m in program.matrices()})
    _check_norms(correction, program)
    _check_rewrites(correction, program)


def _shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise CimsimError(
            "a correction does not fit the model",
            key=name,
            value=list(array.shape),
            allowed=str(list(shape)),
        )


def _moe_layer(program: Program, layer: int, step: str) -> Layer:
    if layer not in program.moe_layers:
        raise CimsimError(
            "a correction names a layer without a router",
            key=step,
            value=layer,
            allowed=", ".join(map(str, program.moe_layers)),
        )
    return program.layers[layer]


def _check_router(correction: Correction, program: Program) -> None:
    for step in ("router_scale", "router_offset"):
        for layer, array in getattr(correction, step).items():
            _shape(step, array, (len(_moe_layer(program, layer, step).experts),))
    for layer, quantiles in correction.router_quantiles.items():
        n_experts = len(_moe_layer(program, layer, "router_quantiles").experts)
        knots = quantiles.x.shape[-1]
        for array in (quantiles.x, quantiles.y):
            _shape("router_quantiles", array, (n_experts, knots))
        if (np.diff(quantiles.x) <= 0).any() or (np.diff(quantiles.y) < 0).any():
            raise CimsimError("a quantile map is not monotone", key=f"router_quantiles.{layer}")
    for layer, refit in correction.router_refit.items():
        n_experts = len(_moe_layer(program, layer, "router_refit").experts)
        _shape("router_refit", refit.weight, (program.d_model, n_experts))
    for step in ("router_clamp", "router_margin"):
        for layer, value in getattr(correction, step).items():
            _moe_layer(program, layer, step)
            if not 0 <= value < np.inf:
                raise CimsimError("lambda is out of range", key=step, value=value, allowed=">= 0")


def _check_matrices(correction: Correction, matrices: dict[MatrixId, Matrix]) -> None:
    for matrix in (*correction.trims, *correction.columns, *correction.low_rank):
        if matrix not in matrices:
            raise CimsimError(
                "a correction names a matrix that is not in the model", key=str(matrix)
            )
    for matrix, trim in correction.trims.items():
        for array in (trim.gain, trim.offset):
            _shape(f"trims.{matrix}", array, (len(trim.gain), matrices[matrix].n_out))
    for matrix, columns in correction.columns.items():
        for array in (columns.scale, columns.offset):
            _shape(f"columns.{matrix}", array, (matrices[matrix].n_out,))
    for matrix, low_rank in correction.low_rank.items():
        rank = low_rank.u.shape[-1]
        _shape(f"low_rank.{matrix}", low_rank.u, (matrices[matrix].n_in, rank))
        _shape(f"low_rank.{matrix}", low_rank.v, (rank, matrices[matrix].n_out))


def _check_norms(correction: Correction, program: Program) -> None:
    places = {(i, norm) for i in range(len(program.layers)) for norm in ("attention", "block")}
    places.add((len(program.layers), "final"))
    for place, gain in correction.norm_gain.items():
        if place not in places:
            raise CimsimError("a correction names a norm that is not in the model", value=place)
        _shape(f"norm_gain.{place}", gain, (program.d_model,))


def _check_rewrites(correction: Correction, program: Program) -> None:
    seen: set[tuple[int, int]] = set()
    for rewrite in correction.rewrites:
        n_experts = len(_moe_layer(program, rewrite.layer, "rewrites").experts)
        place = (rewrite.layer, rewrite.slot)
        in_range = 0 <= rewrite.slot < n_experts and 0 <= rewrite.source < n_experts
        if not in_range or rewrite.slot == rewrite.source or place in seen:
            raise CimsimError(
                "a slot must be rewritten once, with another expert of its layer",
                key="rewrites",
                value=f"layer {rewrite.layer}: {rewrite.source} into {rewrite.slot}",
                allowed=f"experts 0 to {n_experts - 1}",
            )
        seen.add(place)
    for rewrite in correction.rewrites:
        if (rewrite.layer, rewrite.source) in seen:
            raise CimsimError(
                "the source of a rewritten slot is itself rewritten",
                key="rewrites",
                value=f"layer {rewrite.layer}: {rewrite.source} into {rewrite.slot}",
            )
    for layer in program.moe_layers:
        _check_copies(correction, program.layers[layer])
    for layer, expert in (
        *((r.layer, r.expert) for r in correction.replicas if r.part == "experts"),
        *correction.offload_experts,
    ):
        if not 0 <= expert < len(_moe_layer(program, layer, "replicas").experts):
            raise CimsimError("a correction names an expert that is not there", value=expert)
    for replica in correction.replicas:
        known = replica.part == "experts" or replica.expert == NO_EXPERT
        if not known or not 0 <= replica.layer < len(program.layers):
            raise CimsimError("a correction copies a part that is not there", value=str(replica))
    places = [(r.layer, r.expert, r.part) for r in correction.replicas]
    if len(set(places)) < len(places):
        raise CimsimError("a correction copies one unit twice", key="replicas")
    if any(r.copies < 2 for r in correction.replicas):
        raise CimsimError("a replicated expert has at least 2 copies", key="replicas")


def _check_copies(correction: Correction, layer: Layer) -> None:
    rewrites = [r for r in correction.rewrites if r.layer == layer.index and r.copy_router]
    sharing = {(r.source, r.sharing) for r in rewrites}
    if len(sharing) > len({source for source, _ in sharing}):
        raise CimsimError("copies of one expert must share tokens in one way", key="rewrites")
    masked = sum(r.sharing != "both" for r in rewrites)
    if len(layer.experts) - masked < layer.top_k:
        raise CimsimError(
            "fewer distinct experts remain than a token chooses",
            key="rewrites",
            value=len(layer.experts) - masked,
            allowed=f"at least {layer.top_k}",
        )
