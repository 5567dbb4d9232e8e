"""A safetensors file: its header checked, its tensors decoded to float32 on demand.

The format is 8 bytes of header length (little endian), a JSON header of names, types,
shapes and byte ranges, then the data. bfloat16, which NumPy lacks, is the upper half of
a float32. Files are read piece by piece, never mapped: what a process holds is what it asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import weakref
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError

__all__ = ["KnownDigest", "StoredTensor", "TensorFile", "remember_digest"]

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
CHUNK_BYTES = 1 << 22
_STORED: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
}
KnownDigest = tuple[Path, tuple[int, ...], str]
"""A file, the state that it was in, and its digest."""
_BF16_EXPONENT = np.uint16(0x7F80)  # all ones for infinities and NaNs


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
    """The tensors of one safetensors file, read from it when asked for.

    Args:
        path: the file.

    Raises:
        CimsimError: if the file is missing, truncated or not safetensors, or its tensors do
            not fill it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Kept open: a file that is replaced or removed stays what it was.
            # A pipe would be waited for without end.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            weakref.finalize(self, os.close, self._descriptor)
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._broken("it is a pipe, a device or a folder")
            self._size = status.st_size
            start = os.pread(self._descriptor, 8, 0)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(MAX_HEADER_BYTES, self._size - 8):
                raise self._broken("it is shorter than its header")
            header = os.pread(self._descriptor, length, 8)
        except FileNotFoundError as error:
            raise CimsimError("the weight file is missing", file=path) from error
        except OSError as error:
            raise CimsimError("the weight file cannot be read", file=path) from error
        self._base = 8 + length
        self.tensors = self._read_header(header)

    def _broken(self, why: str) -> CimsimError:
        return CimsimError(f"not a whole safetensors file: {why}", file=self.path)

    def _read_header(self, text: bytes) -> dict[str, StoredTensor]:
        try:
            header = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._broken("its header is not JSON") from error
        if not isinstance(header, dict):
            raise self._broken("its header is not an object")
        header.pop("__metadata__", None)
        tensors = {name: self._entry(name, entry, self._base) for name, entry in header.items()}
        self._check_cover(tensors)
        return tensors

    def _check_cover(self, tensors: dict[str, StoredTensor]) -> None:
        """Check that the tensors fill the file: no byte twice, none left out.

        A file in which that is not so was damaged or put together wrongly, and would load
        as numbers of another tensor.
        """
        end, before = self._base, "the header"
        for name, tensor in sorted(tensors.items(), key=lambda t: (t[1].start, t[1].stop)):
            if tensor.start != end:
                raise self._broken(
                    f"the data of {name!r} begins at byte {tensor.start}, and that of {before} "
                    f"ends at {end}"
                )
            end, before = tensor.stop, repr(name)
        if end > self._size:
            raise self._broken(f"it ends before the data of {before}")
        if end < self._size:
            raise self._broken(f"{self._size - end} bytes follow the data of {before}")

    def _entry(self, name: str, entry: Any, base: int) -> StoredTensor:
        try:
            dtype = str(entry["dtype"])
            shape = _whole_numbers(entry["shape"])
            first, last = _whole_numbers(entry["data_offsets"])
        except (TypeError, KeyError, ValueError) as error:
            raise self._broken(f"the entry of {name!r} is malformed") from error
        if dtype not in _STORED:
            raise CimsimError(
                f"tensor {name!r} has a type that is not read",
                file=self.path,
                value=dtype,
                allowed=", ".join(_STORED),
            )
        if last - first != math.prod(shape) * _STORED[dtype].itemsize:
            raise self._broken(f"the bytes of {name!r} do not match its shape")
        return StoredTensor(dtype, shape, base + first, base + last)

    def read(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Return a tensor as float32, in its stored shape, or some rows of it as a matrix.

        Args:
            name: of the tensor.
            rows: first and last but one, where all axes but the last are counted as rows.

        Raises:
            CimsimError: if the file is not what it was when it was opened.
        """
        return _decode(self.read_stored(name, rows), self.tensors[name].dtype)

    def read_stored(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[Any]:
        """Return a tensor, or some rows of it, as stored: bfloat16 as 16 bits without a meaning.

        Arguments and errors are those of `read`.
        """
        tensor = self.tensors[name]
        first, last = rows or (0, 0)
        shape = (last - first, tensor.shape[-1]) if rows else tensor.shape
        stored = np.empty(shape, dtype=_STORED[tensor.dtype])
        start = tensor.start + first * stored.dtype.itemsize * math.prod(shape[1:])
        self._read_into(stored.reshape(-1).view(np.uint8), start)
        return stored

    def _read_into(self, data: NDArray[np.uint8], start: int) -> None:
        """Fill an array with the bytes from `start` on; threads may read side by side."""
        done = 0
        while done < data.size:
            count = os.preadv(self._descriptor, [data[done:].data], start + done)
            if not count:
                raise self._broken("it changed after it was opened")
            done += count

    def digest(self) -> str:
        """Return the SHA-256 of the whole file, hexadecimal, from one pass over it.

        A process reads a file once for it, as long as it stays as it is.

        Raises:
            CimsimError: if a tensor holds an infinity or a NaN.
        """
        known = _digests_of(self.path, self._state())
        if not known:
            known.append(self._read_for_digest())
        return known[0]

    def known_digest(self) -> KnownDigest:
        """Return the digest as another process may take it over with `remember_digest`."""
        return self.path, self._state(), self.digest()

    def _state(self) -> tuple[int, ...]:
        now = os.fstat(self._descriptor)
        return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns

    def _read_for_digest(self) -> str:
        state = hashlib.sha256(os.pread(self._descriptor, self._base, 0))
        piece = np.empty(min(CHUNK_BYTES, self._size), dtype=np.uint8)
        for name, tensor in sorted(self.tensors.items(), key=lambda t: t[1].start):
            for start in range(tensor.start, tensor.stop, CHUNK_BYTES):
                data = piece[: min(CHUNK_BYTES, tensor.stop - start)]
                self._read_into(data, start)
                state.update(data.data)
                if not _is_finite(data.view(_STORED[tensor.dtype]), tensor.dtype):
                    raise CimsimError(f"tensor {name!r} is not finite", file=self.path)
        return state.hexdigest()


def remember_digest(known: KnownDigest) -> None:
    """Take over a digest that another process of the run found, as long as the file is as it was.

    That its tensors are finite was checked there as well.
    """
    path, state, digest = known
    _digests_of(path, state)[:] = [digest]


@lru_cache(maxsize=256)
def _digests_of(path: Path, state: tuple[int, ...]) -> list[str]:
    """Return room for the digest of a file in one state: empty until it is known."""
    del path, state
    return []


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


def _decode(stored: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Return stored numbers as float32."""
    if dtype == "BF16":
        wide = stored.astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32)
    return stored.astype(np.float32, copy=False)


def _is_finite(stored: NDArray[Any], dtype: str) -> bool:
    if dtype == "BF16":
        return not bool(((stored & _BF16_EXPONENT) == _BF16_EXPONENT).any())
    return bool(np.isfinite(stored).all())
