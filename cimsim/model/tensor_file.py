"""A safetensors file: its header checked, its tensors decoded to float32 on demand.

The format is 8 bytes of header length (little endian), a JSON header of names, types,
shapes and byte ranges, then the data. bfloat16, which NumPy lacks, is the upper half of
a float32.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError

__all__ = ["StoredTensor", "TensorFile"]

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
CHUNK_BYTES = 1 << 24
_WIDTH_BYTES = {"BF16": 2, "F16": 2, "F32": 4}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        dtype: BF16, F16 or F32.
        shape: its shape.
        start: first byte, from the start of the file.
        stop: byte after the last.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile:
    """The tensors of one safetensors file, mapped into memory.

    Args:
        path: the file.

    Raises:
        CimsimError: if the file is missing, truncated or not safetensors, or its tensors do
            not fill it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        except FileNotFoundError as error:
            raise CimsimError("the weight file is missing", file=path) from error
        except (OSError, ValueError) as error:
            raise CimsimError("the weight file cannot be read", file=path) from error
        self.tensors = self._read_header()

    def _broken(self, why: str) -> CimsimError:
        return CimsimError(f"not a whole safetensors file: {why}", file=self.path)

    def _read_header(self) -> dict[str, StoredTensor]:
        size = int(self._bytes.size)
        if size < 8:
            raise self._broken("it is shorter than its header")
        length = int.from_bytes(self._bytes[:8].tobytes(), "little")
        if length > MAX_HEADER_BYTES or 8 + length > size:
            raise self._broken("it is shorter than its header")
        try:
            header = json.loads(self._bytes[8 : 8 + length].tobytes().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._broken("its header is not JSON") from error
        if not isinstance(header, dict):
            raise self._broken("its header is not an object")
        header.pop("__metadata__", None)
        base = 8 + length
        tensors = {name: self._entry(name, entry, base) for name, entry in header.items()}
        self._check_cover(tensors, base)
        return tensors

    def _check_cover(self, tensors: dict[str, StoredTensor], base: int) -> None:
        """Check that the tensors fill the file: no byte twice, none left out.

        A file in which that is not so was damaged or put together wrongly, and would load
        as numbers of another tensor.
        """
        end, before = base, "the header"
        for name, tensor in sorted(tensors.items(), key=lambda t: (t[1].start, t[1].stop)):
            if tensor.start != end:
                raise self._broken(
                    f"the data of {name!r} begins at byte {tensor.start}, and that of {before} "
                    f"ends at {end}"
                )
            end, before = tensor.stop, repr(name)
        size = int(self._bytes.size)
        if end > size:
            raise self._broken(f"it ends before the data of {before}")
        if end < size:
            raise self._broken(f"{size - end} bytes follow the data of {before}")

    def _entry(self, name: str, entry: Any, base: int) -> StoredTensor:
        try:
            dtype = str(entry["dtype"])
            shape = _whole_numbers(entry["shape"])
            first, last = _whole_numbers(entry["data_offsets"])
        except (TypeError, KeyError, ValueError) as error:
            raise self._broken(f"the entry of {name!r} is malformed") from error
        if dtype not in _WIDTH_BYTES:
            raise CimsimError(
                f"tensor {name!r} has a type that is not read",
                file=self.path,
                value=dtype,
                allowed=", ".join(_WIDTH_BYTES),
            )
        if last - first != math.prod(shape) * _WIDTH_BYTES[dtype]:
            raise self._broken(f"the bytes of {name!r} do not match its shape")
        return StoredTensor(dtype, shape, base + first, base + last)

    def read(self, name: str) -> NDArray[np.float32]:
        """Return one tensor as float32, in its stored shape."""
        tensor = self.tensors[name]
        return _decode(self._bytes[tensor.start : tensor.stop], tensor.dtype).reshape(tensor.shape)

    def is_finite(self, name: str) -> bool:
        """Return whether a tensor holds neither infinities nor NaNs."""
        tensor = self.tensors[name]
        for start in range(tensor.start, tensor.stop, CHUNK_BYTES):
            chunk = self._bytes[start : min(start + CHUNK_BYTES, tensor.stop)]
            if not np.isfinite(_decode(chunk, tensor.dtype)).all():
                return False
        return True

    def digest(self) -> str:
        """Return the SHA-256 of the whole file, hexadecimal."""
        state = hashlib.sha256()
        for start in range(0, self._bytes.size, CHUNK_BYTES):
            state.update(self._bytes[start : start + CHUNK_BYTES].tobytes())
        return state.hexdigest()


def _whole_numbers(values: object) -> tuple[int, ...]:
    """Return a JSON list of whole numbers that fit 63 bits.

    Raises:
        TypeError: if it is anything else.
    """
    if not isinstance(values, list) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in values
    ):
        raise TypeError
    return tuple(values)


def _decode(data: NDArray[np.uint8], dtype: str) -> NDArray[np.float32]:
    raw = data.tobytes()  # a copy, because the data need not be aligned in the file
    if dtype == "BF16":
        wide = np.frombuffer(raw, dtype="<u2").astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32)
    stored = np.frombuffer(raw, dtype="<f2" if dtype == "F16" else "<f4")
    return stored.astype(np.float32)
