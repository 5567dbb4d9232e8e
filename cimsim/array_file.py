"""Arrays from outside: npy files and npz archives, with every size known before data are read.

Whoever made such a file may have damaged it, or mean harm. Nothing is unpickled. A header that
promises more than the file holds, a member that is compressed in an unusual way or encrypted, and
an archive that swells beyond `MOST_BYTES` are refused from their headers. Formats: NEP 1 (npy),
APPNOTE 4.3.16 (end of the central directory of a zip file).
"""

from __future__ import annotations

import math
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cimsim.errors import CimsimError

__all__ = ["ArrayFileError", "read_archive", "read_array", "unpack_archive"]

Array = NDArray[Any]
MOST_BYTES = 1 << 28  # of all arrays of an archive: 16 million visits in 64 bits, twice
MOST_HEADER = 10_000
MOST_DIRECTORY = 1 << 20
END_OF_DIRECTORY = b"PK\x05\x06"
LONGEST_END = 22 + (1 << 16)  # with the longest comment
PLAIN = "biufcmMSU"  # kinds of values that need no code to be read


class ArrayFileError(ValueError):
    """A file that is not what it should be; the text is the end of a sentence on it."""


def read_archive(path: Path, names: Sequence[str], what: str) -> dict[str, Array]:
    """Return arrays of an npz archive by name, those of `names` that are there.

    Args:
        path: the file.
        names: arrays that are read; others are left alone.
        what: what it should be, for messages, e.g. ``routing trace``.

    Raises:
        CimsimError: if the file is missing, or not an archive of plain arrays.
    """
    with _open(path, what) as file:
        try:
            return unpack_archive(file, names)
        except ArrayFileError as error:
            raise CimsimError(
                f"not a {what} (an npz of plain arrays): {error}",
                file=path,
                hint="numpy.savez_compressed writes one",
            ) from error


def read_array(path: Path, what: str, most_bytes: int = MOST_BYTES) -> Array:
    """Return the array of numbers of an npy file.

    Raises:
        CimsimError: if the file is missing, or not a plain array of numbers.
    """
    with _open(path, what) as file:
        try:
            return _read_npy(file, path.stat().st_size, most_bytes)
        except ArrayFileError as error:
            raise CimsimError(
                f"not a {what} (a NumPy array of numbers): {error}",
                file=path,
                hint="numpy.save writes one",
            ) from error


def unpack_archive(
    file: IO[bytes], names: Sequence[str] | None = None, most_bytes: int = MOST_BYTES
) -> dict[str, Array]:
    """Return arrays of an open npz archive by name; `names` of None are all.

    Raises:
        ArrayFileError: if it is not an archive of plain arrays.
    """
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in members:
                    raise ArrayFileError(f"it holds {name!r} twice")
                members[name] = info
            wanted = {n: i for n, i in members.items() if names is None or n in names}
            if sum(info.file_size for info in wanted.values()) > most_bytes:
                raise ArrayFileError(f"its arrays have more than {most_bytes >> 20} MiB")
            return {n: _member(archive, n, info, most_bytes) for n, info in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError) as error:
        raise ArrayFileError(f"the archive is damaged: {error}") from error
    except (RuntimeError, ValueError, struct.error) as error:
        if isinstance(error, ArrayFileError):
            raise
        raise ArrayFileError(f"the archive cannot be read: {error}") from error


def _open(path: Path, what: str) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CimsimError(f"is not a file, and a {what} is one", file=path)
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise CimsimError(f"{what} not found", file=path) from error
    except OSError as error:
        raise CimsimError(f"{what} cannot be read: {error.strerror}", file=path) from error


def _check_directory(file: IO[bytes]) -> None:
    """Refuse what is no zip file, or one whose directory alone would fill the memory."""
    size = file.seek(0, 2)
    file.seek(max(0, size - LONGEST_END))
    tail = file.read(LONGEST_END)
    at = tail.rfind(END_OF_DIRECTORY)
    if at < 0 or len(tail) < at + 22:
        raise ArrayFileError("it is no zip archive")
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    if directory > MOST_DIRECTORY:
        raise ArrayFileError("its directory is too large")
    file.seek(0)


def _member(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, most: int) -> Array:
    if info.flag_bits & 1:
        raise ArrayFileError(f"{name!r} is encrypted")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArrayFileError(f"{name!r} is compressed in a way that is not read")
    with archive.open(info) as member:
        try:
            array = _read_npy(member, info.file_size, most)
        except ArrayFileError as error:
            raise ArrayFileError(f"{name!r} is not an array: {error}") from error
        if member.read(1):  # the end, where the checksum is looked at
            raise ArrayFileError(f"data follow those of {name!r}")
    return array


def _read_npy(file: IO[bytes], size: int, most_bytes: int) -> Array:
    """Return the array of an open file of `size` bytes."""
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, columns_first, dtype = read(file, max_header_size=MOST_HEADER)
    except Exception as error:  # whatever a damaged header makes the library raise
        raise ArrayFileError("it does not begin as one") from error
    if dtype.kind not in PLAIN:
        raise ArrayFileError(f"its values are no plain ones but {dtype}")
    if any(not isinstance(n, int) or n < 0 for n in shape):
        raise ArrayFileError(f"no array has the shape {shape}")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > most_bytes:
        raise ArrayFileError(f"it has more than {most_bytes >> 20} MiB")
    if file.tell() + wanted != size:
        raise ArrayFileError(f"its shape asks for {wanted} bytes and the file has others")
    data, done = np.empty(wanted, dtype=np.uint8), 0
    while done < wanted:
        count = file.readinto(data[done:].data)  # type: ignore[attr-defined]
        if not count:
            raise ArrayFileError("its data end early")
        done += count
    return data.view(dtype).reshape(shape, order="F" if columns_first else "C")
