"""A folder that one process writes at a time: an advisory lock that ends with its holder.

The lock is on the folder itself (``flock`` of its descriptor): no file tells of it, the kernel
lifts it however the process ends, and nobody has to delete anything after a crash. Where the file
system knows no locks, as some network file systems, the folder is not guarded.
"""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
from contextlib import suppress
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.text_file import unusable

__all__ = ["FolderLock", "check_place", "remove_temporaries"]

TAKEN = {errno.EWOULDBLOCK, errno.EACCES}


class FolderLock:
    """A folder that is made if it is missing, and held until `release` or the process ends.

    Args:
        path: the folder.

    Raises:
        CimsimError: if it cannot be made, or another process holds it.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise unusable(error, path, "cannot be made") from error
        self.release = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in TAKEN:
                self.release()
                raise CimsimError(
                    "another run writes into the folder",
                    file=path,
                    key="--out",
                    hint="wait for it, or name another folder",
                ) from error


def check_place(path: Path) -> None:
    """Refuse a place where no folder is and none can be made; nothing is changed.

    Args:
        path: of the folder, there or not.

    Raises:
        CimsimError: if it is a file, or the nearest folder above it cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise CimsimError("is a file, not a folder", file=path, key="--out")
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise CimsimError(
            f"cannot be made: {existing} is not a writable folder", file=path, key="--out"
        )


def remove_temporaries(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left, below a folder."""
    for path in folder.rglob(".*.tmp"):
        if not path.is_symlink():
            with suppress(OSError):
                path.unlink()
