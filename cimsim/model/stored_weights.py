"""Where a checkpoint's files hold a matrix, and reading it: one at a time, in float32.

Two layouts occur. As released, every matrix of a routed expert is a tensor of its own. As
transformers 5 keeps models in memory, and writes them with ``save_original_format=False``, the
experts of a layer are two arrays of three axes: ``gate_up_proj`` [experts, 2 x width, d_model],
gates above ups, and ``down_proj`` [experts, d_model, width].
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model.families import Family
from cimsim.model.tensor_file import KnownDigest
from cimsim.model.weight_files import WeightFiles
from cimsim.text_file import without_mark
from cimsim.workload.matrix import NO_EXPERT, Matrix, MatrixId
from cimsim.workload.program import Layer, Program

__all__ = ["MatrixCache", "StoredWeights"]

Array = NDArray[np.float32]

CACHE_BYTES = 1 << 30
READERS = 4  # files that are hashed side by side
_FUSED_ROUTER = "mlp.gate.weight"
_GATE_UP, _DOWN = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"


@dataclass(frozen=True)
class _Place:
    """Where a matrix or a parameter is stored.

    Attributes:
        name: of the tensor.
        shape: of the whole tensor.
        rows: which rows of it, or None for all.
        upright: whether a matrix is stored as [n_in, n_out] and not transposed.
    """

    name: str
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    upright: bool = False


class StoredWeights:
    """The tensors that a program uses.

    Args:
        folder: of the checkpoint.
        program: the operations.
        family: names its tensors.
        weights: the files.

    Raises:
        CimsimError: if a tensor is missing, of another shape, or has no place in the program.
    """

    def __init__(
        self, folder: Path, program: Program, family: Family, weights: WeightFiles
    ) -> None:
        self._files = weights.files
        self._places = _places(program, family, weights)
        expected = {place.name: place.shape for place in self._places.values()}
        _check_tensors(folder, weights, expected)
        _check_names(weights, set(expected), len(program.layers) if family.drafts else None)

    def read(self, layer: int, role: str, expert: int = NO_EXPERT) -> Array:
        """Return a matrix [n_out, n_in] or a digital parameter in its stored shape."""
        place = self._places[MatrixId(layer, role, expert)]
        found = self._files[place.name].read(place.name, place.rows)
        return found.T if place.upright else found

    def read_bfloat16(self, matrix: MatrixId) -> NDArray[np.uint16] | None:
        """Return the bits of a matrix [n_out, n_in] that is stored in bfloat16, else None."""
        place = self._places[matrix]
        file = self._files[place.name]
        if file.tensors[place.name].dtype != "BF16":
            return None
        found = file.read_stored(place.name, place.rows)
        return found.T if place.upright else found

    def shape(self, matrix: MatrixId) -> tuple[int, int]:
        """Return inputs and outputs of a matrix."""
        place = self._places[matrix]
        first, last = place.rows or (0, place.shape[0])
        stored = last - first, place.shape[-1]
        return stored if place.upright else stored[::-1]

    def stored_bytes(self) -> dict[str, int]:
        """Return the bytes of tensors that are read, by their stored type."""
        found: dict[str, int] = {}
        for name in dict.fromkeys(place.name for place in self._places.values()):
            tensor = self._files[name].tensors[name]
            found[tensor.dtype] = found.get(tensor.dtype, 0) + tensor.stop - tensor.start
        return found

    def known_digests(self) -> tuple[KnownDigest, ...]:
        """Return the digests of the weight files, for other processes of a run."""
        by_path = {file.path: file for file in self._files.values()}
        return tuple(file.known_digest() for file in by_path.values())

    def digest(self, config: Path) -> str:
        """Return the SHA-256 of configuration and weight files, hexadecimal.

        Raises:
            CimsimError: if a tensor holds an infinity or a NaN.
        """
        state = hashlib.sha256(without_mark(config.read_bytes()))
        by_path = {file.path.name: file for file in self._files.values()}
        names = sorted(by_path)
        with ThreadPoolExecutor(READERS) as pool:
            digests = pool.map(lambda name: by_path[name].digest(), names)
            for name, digest in zip(names, digests, strict=True):
                state.update(f"\n{name} {digest}".encode())
        return state.hexdigest()


class MatrixCache:
    """The matrices that were asked for last, up to some bytes; threads may share it."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most, self._held = most_bytes, 0
        self._kept: OrderedDict[MatrixId, Array] = OrderedDict()
        self._lock = Lock()

    def get(self, matrix: MatrixId, read: Callable[[], Array]) -> Array:
        """Return a matrix, read if it is not kept; it must not be changed."""
        with self._lock:
            if matrix in self._kept:
                self._kept.move_to_end(matrix)
                return self._kept[matrix]
        found = read()
        with self._lock:
            if matrix not in self._kept and found.nbytes <= self._most:
                self._kept[matrix] = found
                self._held += found.nbytes
                while self._held > self._most:
                    self._held -= self._kept.popitem(last=False)[1].nbytes
        return found


def _places(program: Program, family: Family, weights: WeightFiles) -> dict[MatrixId, _Place]:
    """Return the place of everything that the forward pass uses."""
    places: dict[MatrixId, _Place] = {}
    for operation in program.operations:
        for role, shape in operation.parameters.items():
            name = family.tensor(operation.layer, role)
            places[MatrixId(operation.layer, role)] = _Place(name, shape)
    for matrix in program.matrices():
        if matrix.id.role == "head" and program.tied_head:
            continue
        layer, role, expert = matrix.id
        if role in ("k_b", "v_b"):
            places[matrix.id] = _of_head(matrix, family.tensor(layer, role), program.layers[layer])
            continue
        fused = f"model.layers.{layer}.{_GATE_UP}" in weights.files
        if fused and expert != NO_EXPERT:
            places[matrix.id] = _fused(matrix, len(program.layers[layer].experts))
        else:
            name = family.tensor(layer, role, expert)
            if fused and role == "router" and name not in weights.files:
                name = f"model.layers.{layer}.{_FUSED_ROUTER}"
            places[matrix.id] = _Place(name, (matrix.n_out, matrix.n_in))
    return places


def _fused(matrix: Matrix, experts: int) -> _Place:
    """Return the place of an expert's matrix in the array of all experts of its layer."""
    layer, role, expert = matrix.id
    stacked, name = (1, _DOWN) if role == "down" else (2, _GATE_UP)
    first = (stacked * expert + (role == "up")) * matrix.n_out
    return _Place(
        f"model.layers.{layer}.{name}",
        (experts, stacked * matrix.n_out, matrix.n_in),
        (first, first + matrix.n_out),
    )


def _of_head(matrix: Matrix, name: str, layer: Layer) -> _Place:
    """Return the place of a head's part of what expands latents to keys and values.

    Stored are, head by head, its keys [plain_dim, latent], then its values [value_dim, latent].
    """
    first = {m.id.role: m for m in reversed(layer.attention)}
    keys, values = first["k_b"].n_in, first["v_b"].n_out
    heads = sum(m.id.role == "k_b" for m in layer.attention)
    start = matrix.id.expert * (keys + values)
    is_key = matrix.id.role == "k_b"
    rows = (start, start + keys) if is_key else (start + keys, start + keys + values)
    return _Place(name, (heads * (keys + values), first["k_b"].n_out), rows, upright=is_key)


def _check_tensors(
    folder: Path, weights: WeightFiles, expected: dict[str, tuple[int, ...]]
) -> None:
    files = weights.files
    for name, shape in expected.items():
        if name not in files:
            raise CimsimError(
                f"the checkpoint lacks tensor {name!r}",
                file=folder,
                hint="; ".join(weights.warnings) or None,
            )
        found = files[name].tensors[name].shape
        if found != shape:
            raise CimsimError(
                f"tensor {name!r} does not have the shape that config.json implies",
                file=files[name].path,
                value=list(found),
                allowed=str(list(shape)),
            )


def _check_names(weights: WeightFiles, expected: set[str], drafts: int | None) -> None:
    """Refuse tensors without a place; those of layers from `drafts` on are left out."""
    for name, file in weights.files.items():
        layer = re.match(r"model\.layers\.(\d+)\.", name)
        if drafts is not None and layer and int(layer[1]) >= drafts:
            continue
        # Buffers of old writers and the unused copy of a tied head are harmless.
        known = name in expected or name == "lm_head.weight" or name.endswith("inv_freq")
        if not known:
            raise CimsimError(
                f"tensor {name!r} has no place in this architecture",
                file=file.path,
                hint="config.json and the weights do not describe the same model",
            )
