"""What a calibrator changes about a deployed model: an immutable `Correction`.

Who applies what:

* The decoder applies the router steps (affine, quantile map, clamp, margin, copied rows),
  digital router refits, per-column and low-rank corrections, and norm gains.
* Whoever builds the `Linear` applies what is behind converters (`trims`) and what changes cells
  or moves work: `clip_lsb` (the whole model is written anew, in other codes), `rewrites` (a
  slot's crossbars are programmed with the source expert's matrices, which draws new errors),
  `router_refit` with ``where == "reprogrammed"`` (the router's crossbars are programmed
  with the new weights, which draws new errors), `replicas` (that many programmed copies of an
  expert, outputs averaged), the averaging of `rewrites` with ``sharing == "average"``
  (the product of the source expert is the mean over its slots), and `offload_parts` and
  `offload_experts` (products evaluated digitally).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.model.correction_steps import (
    ColumnCorrection,
    ColumnTrim,
    LowRank,
    Replica,
    RouterRefit,
    SlotRewrite,
)
from cimsim.model.router_correction import CopyGroup, QuantileMap, RouterCorrection
from cimsim.workload.matrix import AnalogPart, MatrixId

__all__ = ["Correction", "identity"]

Array = NDArray[np.float32]
_NAMES = ("method", "model_hash", "chip_hash")
# Steps that are two arrays per place: a layer, or a matrix.
PAIRS: dict[str, type[QuantileMap | ColumnCorrection | ColumnTrim | LowRank]] = {
    "trims": ColumnTrim,
    "router_quantiles": QuantileMap,
    "columns": ColumnCorrection,
    "low_rank": LowRank,
}


@dataclass(frozen=True)
class Correction:
    """Everything that calibration changes; arrays are read-only.

    Attributes:
        method: name of the calibrator.
        model_hash: `Checkpoint.hash` of the model it was made for.
        chip_hash: identity of the chip (configuration and seed) it was made for.
        router_scale: layer to float32 [experts], on logits.
        router_offset: layer to float32 [experts], on logits.
        router_quantiles: layer to monotone map.
        router_clamp: layer to lambda of reading R1.
        router_margin: layer to lambda of reading R2.
        router_refit: layer to new router weights.
        clip_lsb: error of a stored weight, in LSB, for which columns are clipped and get a scale
            each; 0 leaves the model as it was written.
        trims: matrix to gains and offsets behind the converters of its copies.
        columns: matrix to scale and offset of its outputs.
        low_rank: matrix to low-rank correction of its outputs.
        norm_gain: (layer, "attention" or "block") to float32 [d_model], multiplied onto
            that norm's gain; the final norm is (number of layers, "final").
        rewrites: expert slots to rewrite.
        replicas: experts to replicate and average.
        offload_parts: parts of the model that run digitally.
        offload_experts: (layer, expert) pairs that run digitally.
    """

    method: str
    model_hash: str
    chip_hash: str
    router_scale: Mapping[int, Array] = field(default_factory=dict)
    router_offset: Mapping[int, Array] = field(default_factory=dict)
    router_quantiles: Mapping[int, QuantileMap] = field(default_factory=dict)
    router_clamp: Mapping[int, float] = field(default_factory=dict)
    router_margin: Mapping[int, float] = field(default_factory=dict)
    router_refit: Mapping[int, RouterRefit] = field(default_factory=dict)
    clip_lsb: float = 0.0
    trims: Mapping[MatrixId, ColumnTrim] = field(default_factory=dict)
    columns: Mapping[MatrixId, ColumnCorrection] = field(default_factory=dict)
    low_rank: Mapping[MatrixId, LowRank] = field(default_factory=dict)
    norm_gain: Mapping[tuple[int, str], Array] = field(default_factory=dict)
    rewrites: tuple[SlotRewrite, ...] = ()
    replicas: tuple[Replica, ...] = ()
    offload_parts: tuple[AnalogPart, ...] = ()
    offload_experts: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Make every table and array read-only, tables in a fixed order."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Mapping):
                table = {key: _frozen(value[key]) for key in sorted(value)}
                object.__setattr__(self, item.name, MappingProxyType(table))

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        """Travel between processes: read-only tables go as plain ones."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {n: dict(v) if isinstance(v, Mapping) else v for n, v in values.items()}
        return _rebuild, (plain,)

    @property
    def is_identity(self) -> bool:
        """Whether nothing at all is changed."""
        return not any(getattr(self, f.name) for f in fields(self) if f.name not in _NAMES)

    def router(self, layer: int) -> RouterCorrection | None:
        """Return what is done to the logits of one layer, or None if nothing is."""
        result = RouterCorrection(
            scale=self.router_scale.get(layer),
            offset=self.router_offset.get(layer),
            quantiles=self.router_quantiles.get(layer),
            clamp=self.router_clamp.get(layer),
            margin=self.router_margin.get(layer),
            copies=self.copy_groups(layer),
        )
        return None if result.is_identity else result

    def copy_groups(self, layer: int) -> tuple[CopyGroup, ...]:
        """Return the slots of a layer that hold one router row, by source expert."""
        groups: dict[int, list[SlotRewrite]] = {}
        for rewrite in self.rewrites:
            if rewrite.layer == layer and rewrite.copy_router:
                groups.setdefault(rewrite.source, []).append(rewrite)
        return tuple(
            CopyGroup((source, *sorted(r.slot for r in group)), group[0].sharing)
            for source, group in sorted(groups.items())
        )

    def metadata(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for JSON."""
        return {
            **{name: getattr(self, name) for name in _NAMES},
            # Left out where codes are as written, so that older digests stay as they are.
            **({"clip_lsb": self.clip_lsb} if self.clip_lsb else {}),
            "router_clamp": {str(layer): v for layer, v in self.router_clamp.items()},
            "router_margin": {str(layer): v for layer, v in self.router_margin.items()},
            "rewrites": [_record(r) for r in self.rewrites],
            "replicas": [_record(r) for r in self.replicas],
            "offload_parts": list(self.offload_parts),
            "offload_experts": [list(pair) for pair in self.offload_experts],
        }

    def tensors(self) -> dict[str, Array]:
        """Return every array by a name that says step, place and field."""
        out: dict[str, Array] = {}
        for step in ("router_scale", "router_offset"):
            out |= {f"{step}/{layer}": a for layer, a in getattr(self, step).items()}
        for layer, refit in self.router_refit.items():
            out[f"router_refit/{layer}/{refit.where}"] = refit.weight
        for step, kind in PAIRS.items():
            for place, pair in getattr(self, step).items():
                where = _place(place) if isinstance(place, MatrixId) else place
                out |= {f"{step}/{where}/{f.name}": getattr(pair, f.name) for f in fields(kind)}
        for (layer, norm), gain in self.norm_gain.items():
            out[f"norm_gain/{layer}/{norm}"] = gain
        return out

    def same_as(self, other: Correction) -> bool:
        """Return whether both hold the same, bit by bit: as their digests say, but sooner."""
        if self.metadata() != other.metadata():
            return False
        mine, its = self.tensors(), other.tensors()
        return mine.keys() == its.keys() and all(_same(a, its[name]) for name, a in mine.items())

    def digest(self) -> str:
        """Return the SHA-256 of the whole correction, hexadecimal."""
        state = hashlib.sha256(json.dumps(self.metadata(), sort_keys=True).encode())
        tensors = self.tensors()
        for name in sorted(tensors):
            array = tensors[name]
            state.update(f"\n{name} {array.shape}\n".encode())
            state.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return state.hexdigest()


def identity(model_hash: str, chip_hash: str, method: str = "identity") -> Correction:
    """Return the correction that changes nothing."""
    return Correction(method, model_hash, chip_hash)


def _rebuild(values: dict[str, Any]) -> Correction:
    return Correction(**values)


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


def _place(matrix: MatrixId) -> str:
    return f"{matrix.layer}.{matrix.role}.{matrix.expert}"


def _record(step: SlotRewrite | Replica) -> dict[str, Any]:
    return {f.name: getattr(step, f.name) for f in fields(step)}


def _frozen(value: Any) -> Any:
    """Return a value whose arrays are private, read-only float32 copies."""
    if isinstance(value, np.ndarray):
        copy = np.array(value, dtype=np.float32, order="C")
        copy.setflags(write=False)
        return copy
    if isinstance(value, QuantileMap | ColumnCorrection | ColumnTrim | LowRank | RouterRefit):
        return type(value)(*(_frozen(getattr(value, f.name)) for f in fields(value)))
    return value
