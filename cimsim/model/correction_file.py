"""Corrections on disk: safetensors, with everything but arrays as JSON metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cimsim.errors import CimsimError
from cimsim.model.correction import PAIRS, Correction
from cimsim.model.correction_steps import Replica, RouterRefit, SlotRewrite
from cimsim.model.router_correction import Sharing
from cimsim.printable import printable
from cimsim.text_file import is_file, write_whole
from cimsim.workload.matrix import AnalogPart, MatrixId

__all__ = ["load_correction", "save_correction"]

KEY = "cimsim_correction"  # one key, so that the bytes of the header do not vary
VERSION = 1
MOST_LSB = 1 << 15  # half the range of the widest weight: such a chip holds nothing
MOST_COPIES = 1024  # more than experts of any released model; each one is programmed


def save_correction(correction: Correction, path: Path) -> None:
    """Write a correction, whole or not at all."""
    content = {"version": VERSION, "digest": correction.digest(), **correction.metadata()}
    data = save(dict(correction.tensors()), {KEY: json.dumps(content, sort_keys=True)})
    if not path.parent.is_dir():
        raise CimsimError("the correction cannot be written: no such folder", file=path)
    write_whole(path, data)


def load_correction(path: Path) -> Correction:
    """Read a correction.

    Raises:
        CimsimError: if the file is missing, damaged, or not a correction.
    """
    if not is_file(path):
        raise CimsimError("correction not found", file=path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            content = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if content is None:
            raise CimsimError("a safetensors file, but not a correction", file=path)
        data = _Content.model_validate_json(content, strict=True)
        if data.version != VERSION:
            raise CimsimError("a correction of another version", file=path)
        correction, digest = _decode(data, tensors), data.digest
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CimsimError(
            f"not a correction, or a damaged one: {first['msg']}", file=path, key=key or None
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CimsimError("not a correction, or a damaged one", file=path) from error
    if correction.digest() != digest:
        raise CimsimError("the correction is damaged: its digest does not match", file=path)
    return correction


Number = Annotated[int, Field(ge=-1, le=2**31)]
Lambda = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=100)]


class _Rewrite(BaseModel, frozen=True, extra="forbid"):
    layer: Number
    slot: Number
    source: Number
    copy_router: bool
    sharing: Sharing


class _Replica(BaseModel, frozen=True, extra="forbid"):
    layer: Number
    expert: Number
    copies: Annotated[int, Field(ge=2, le=MOST_COPIES)]
    part: AnalogPart


class _Content(BaseModel, frozen=True, extra="forbid"):
    """The metadata of a correction, checked before anything is made of them."""

    version: int
    digest: Name
    method: Name
    model_hash: Name
    chip_hash: Name
    clip_lsb: Annotated[float, Field(ge=0, le=MOST_LSB, allow_inf_nan=False)] = 0.0
    router_clamp: dict[Name, Lambda]
    router_margin: dict[Name, Lambda]
    rewrites: tuple[_Rewrite, ...]
    replicas: tuple[_Replica, ...]
    offload_parts: tuple[AnalogPart, ...]
    offload_experts: tuple[tuple[Number, Number], ...]


def _decode(data: _Content, tensors: dict[str, NDArray[np.float32]]) -> Correction:
    tables: dict[str, dict[Any, Any]] = {}
    pairs: dict[tuple[str, str], dict[str, NDArray[np.float32]]] = {}
    for name, array in tensors.items():
        step, place, *rest = name.split("/")
        if step in ("router_scale", "router_offset"):
            tables.setdefault(step, {})[int(place)] = array
        elif step == "router_refit":
            tables.setdefault(step, {})[int(place)] = RouterRefit(array, _where(rest[0]))
        elif step == "norm_gain":
            tables.setdefault(step, {})[(int(place), rest[0])] = array
        else:
            pairs.setdefault((step, place), {})[rest[0]] = array
    for (step, place), arrays in pairs.items():
        at = int(place) if step == "router_quantiles" else _matrix(place)
        tables.setdefault(step, {})[at] = PAIRS[step](**arrays)
    for step in ("router_clamp", "router_margin"):
        tables[step] = {int(layer): v for layer, v in getattr(data, step).items()}
    return Correction(
        method=printable(data.method),
        model_hash=data.model_hash,
        chip_hash=data.chip_hash,
        clip_lsb=data.clip_lsb,
        rewrites=tuple(SlotRewrite(**dict(r)) for r in data.rewrites),
        replicas=tuple(Replica(**dict(r)) for r in data.replicas),
        offload_parts=data.offload_parts,
        offload_experts=data.offload_experts,
        **tables,
    )


def _where(word: str) -> Any:
    if word not in ("digital", "reprogrammed"):
        raise ValueError(word)
    return word


def _matrix(place: str) -> MatrixId:
    layer, role, expert = place.split(".")
    return MatrixId(int(layer), role, int(expert))
