"""Files at the border: text of the user, read; and files that are written whole or not at all.

Text is UTF-8, with or without a byte order mark.

Editors on Windows begin a file with a byte order mark, and so does Excel's "CSV UTF-8". It
is no part of the text: as text it would become stray tokens, or part of the first key,
number or column name. Every text that comes from outside is therefore read here.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError, SimulationError

__all__ = [
    "OUT_OF_PLACE",
    "is_file",
    "is_folder",
    "is_stream",
    "read_text_file",
    "stored_bytes",
    "stored_json",
    "unusable",
    "without_mark",
    "write_whole",
]

UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
MOST_BYTES = 64 << 20
WRITER_S = 10.0
WAIT_S = 0.02
OUT_OF_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a disk says that is full or broken, however right the path is."""


def is_file(path: Path) -> bool:
    """Return whether a user's path is that of a file; one that no file can have is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name of 300 letters, say, or a NUL in it
        return False


def is_folder(path: Path) -> bool:
    """Return whether a user's path is that of a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_stream(path: Path) -> bool:
    """Return whether a user's path is that of a device or a pipe that takes what is written.

    So is ``/dev/stdout``, which is a link, wherever it leads.
    """
    try:
        kind, link = path.stat().st_mode, path.is_symlink()
    except (OSError, ValueError):
        return False
    open_file = link and path.absolute().parts[1:2] in {("dev",), ("proc",)}
    return stat.S_ISCHR(kind) or stat.S_ISFIFO(kind) or open_file


def read_text_file(
    path: Path,
    what: str,
    *,
    key: str | None = None,
    most_bytes: int = MOST_BYTES,
    pipe: bool = False,
) -> str:
    """Return the text of a file: without byte order mark, with line feeds between lines.

    A pipe is read only where the user named it, and its writer is waited for `WRITER_S`; no more
    is read than `most_bytes`.

    Args:
        path: the file.
        what: what it should be, for messages, e.g. ``YAML file``.
        key: option that named it.
        most_bytes: largest size.
        pipe: whether the user may have named a pipe.

    Raises:
        CimsimError: if the file is missing, a folder, unreadable, too large or not UTF-8, or a
            pipe that nobody writes into.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise CimsimError(f"is a folder, not a {what}", file=path, key=key)
        if not (stat.S_ISREG(kind) or (pipe and (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)))):
            raise CimsimError(f"is a pipe or a device, not a {what}", file=path, key=key)
        if stat.S_ISFIFO(kind):
            data = _of_pipe(path, most_bytes, key)
        else:
            with path.open("rb") as file:
                data = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise CimsimError(f"{what} not found", file=path, key=key) from error
    except OSError as error:
        raise CimsimError(f"{what} cannot be read: {error.strerror}", file=path, key=key) from error
    if len(data) > most_bytes:
        allowed = f"up to {most_bytes >> 20} MiB"
        raise CimsimError(f"{what} is too large", file=path, key=key, allowed=allowed)
    try:
        text = without_mark(data).decode("utf-8")
    except UnicodeDecodeError as error:
        wide = data.startswith(UTF16_MARKS)
        raise CimsimError(
            f"{what} is not UTF-8",
            file=path,
            line=None if wide else data.count(b"\n", 0, error.start) + 1,
            key=key,
            hint="it begins as UTF-16 does: save it as UTF-8" if wide else None,
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def stored_bytes(path: Path) -> bytes:
    """Return a file of an earlier run.

    Raises:
        OSError: if it cannot be read, or is a pipe, which would be waited for without end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no file", str(path))
    return path.read_bytes()


def stored_json(path: Path) -> Any:
    """Return what a JSON file of an earlier run holds.

    Raises:
        OSError: as `stored_bytes`.
        ValueError: if it is no JSON, or nested without end.
    """
    try:
        return json.loads(stored_bytes(path))
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def _of_pipe(path: Path, most_bytes: int, key: str | None) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        until, begin = time.monotonic() + WRITER_S, b""
        # Without a writer there is nothing at once; with one, None until it writes.
        while begin == b"":
            if time.monotonic() > until:
                raise CimsimError("nobody writes into this pipe", file=path, key=key)
            time.sleep(WAIT_S)
            begin = pipe.read(1)
        os.set_blocking(pipe.fileno(), True)
        return (begin or b"") + io.BufferedReader(pipe).read(most_bytes + 1)


def without_mark(data: bytes) -> bytes:
    """Return the bytes of UTF-8 text without their byte order mark, if they have one."""
    return data.removeprefix(UTF8_MARK)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Args:
        path: where; missing folders are made. A device or a pipe is written into, never replaced:
            ``/dev/null`` belongs to everybody.
        data: its bytes.

    Raises:
        CimsimError: if the place cannot be written.
    """
    if is_stream(path):
        _write_into(path, data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(error, path, "cannot be written") from error


def _write_into(path: Path, data: bytes) -> None:
    try:
        # A pipe that nobody reads from is refused at once and not waited for.
        how = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, how)
        with os.fdopen(descriptor, "wb") as stream:
            os.set_blocking(descriptor, True)
            stream.write(data)
    except OSError as error:
        raise unusable(error, path, "cannot be written") from error


def unusable(error: OSError, path: Path, what: str = "cannot be used") -> CimsimError:
    """Return the error of a path that cannot be used: the user's, or that of a full disk."""
    kind = SimulationError if error.errno in OUT_OF_PLACE else CimsimError
    return kind(f"{what}: {error.strerror}", file=path)
