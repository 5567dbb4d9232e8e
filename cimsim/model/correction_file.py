"""Corrections on disk: safetensors, with everything but arrays as JSON metadata."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cimsim.errors import CimsimError
from cimsim.model.correction import PAIRS, Correction
from cimsim.model.correction_steps import Replica, RouterRefit, SlotRewrite
from cimsim.workload.matrix import MatrixId

__all__ = ["load_correction", "save_correction"]

KEY = "cimsim_correction"  # one key, so that the bytes of the header do not vary
VERSION = 1


def save_correction(correction: Correction, path: Path) -> None:
    """Write a correction, whole or not at all."""
    content = {"version": VERSION, "digest": correction.digest(), **correction.metadata()}
    data = save(dict(correction.tensors()), {KEY: json.dumps(content, sort_keys=True)})
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError as error:
        raise CimsimError("the correction cannot be written", file=path) from error


def load_correction(path: Path) -> Correction:
    """Read a correction.

    Raises:
        CimsimError: if the file is missing, damaged, or not a correction.
    """
    if not path.is_file():
        raise CimsimError("correction not found", file=path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            content = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if content is None:
            raise CimsimError("a safetensors file, but not a correction", file=path)
        data = json.loads(content)
        if data.pop("version") != VERSION:
            raise CimsimError("a correction of another version", file=path)
        digest = data.pop("digest")
        correction = _decode(data, tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CimsimError("not a correction, or a damaged one", file=path) from error
    if correction.digest() != digest:
        raise CimsimError("the correction is damaged: its digest does not match", file=path)
    return correction


def _decode(data: dict[str, Any], tensors: dict[str, NDArray[np.float32]]) -> Correction:
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
        tables[step] = {int(layer): float(v) for layer, v in data[step].items()}
    return Correction(
        method=str(data["method"]),
        model_hash=str(data["model_hash"]),
        chip_hash=str(data["chip_hash"]),
        rewrites=tuple(SlotRewrite(**r) for r in data["rewrites"]),
        replicas=tuple(Replica(**r) for r in data["replicas"]),
        offload_parts=tuple(data["offload_parts"]),
        offload_experts=tuple((int(a), int(b)) for a, b in data["offload_experts"]),
        **tables,
    )


def _where(word: str) -> Any:
    if word not in ("digital", "reprogrammed"):
        raise ValueError(word)
    return word


def _matrix(place: str) -> MatrixId:
    layer, role, expert = place.split(".")
    return MatrixId(int(layer), role, int(expert))
