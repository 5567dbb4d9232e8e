"""Entries on disk: a folder that processes and machines share.

    FOLDER/v1/STAGE/READS.json         the fields that a stage may read, a list
    FOLDER/v1/STAGE/entries/KEY        a packed value
    FOLDER/v1/STAGE/claims/KEY         empty, locked by the process that computes the value

A name says what is in a file, so that two writers of one name write the same. Files are written
beside their place and renamed: a reader sees a whole one or none. Reading checks the checksum;
what is damaged is removed and reported, and computed again. When entries take more than the
limit, those that were not used for longest go.

A claim keeps two processes from computing one value: the second waits and reads it. The lock ends
with its holder. Where the file system knows no locks both compute, to the same bytes.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError
from cimsim.results.packed import DamagedError, pack, unpack
from cimsim.text_file import stored_bytes, stored_json

__all__ = ["Store", "StoreSize", "cache_folder"]

VERSION = "v1"
MOST_BYTES = 4 << 30
KEPT_SHARE = 0.9  # of the limit, after entries have been removed
OURS = "entries"
CLAIMS = "claims"


def cache_folder() -> Path:
    """Return the folder of the cache: CIMSIM_CACHE_DIR, or the user's (XDG_CACHE_HOME).

    Who has no home, as numbered users of containers, gets one that cannot be made.
    """
    if own := os.environ.get("CIMSIM_CACHE_DIR"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cimsim"
    except RuntimeError:
        return Path(os.devnull) / "cimsim"


def why_unusable(folder: Path) -> str | None:
    """Make a folder for the cache; return why it cannot be used, or None.

    Folders inside may be those of another user, whose files are nobody else's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = [p for pattern in (VERSION, f"{VERSION}/*/") for p in folder.glob(pattern)]
    except OSError as error:
        return f"{folder}: {error.strerror}"
    closed = (p for p in (folder, *inside) if not os.access(p, os.R_OK | os.W_OK | os.X_OK))
    return next((f"{place} cannot be written" for place in closed), None)


@dataclass(frozen=True)
class StoreSize:
    """What a store holds of one stage.

    Attributes:
        stage: its name.
        entries: how many.
        size_bytes: of all of them.
    """

    stage: str
    entries: int
    size_bytes: int


class Store:
    """Packed values by stage and key.

    Args:
        folder: where; made when something is kept.
        most_bytes: limit of all entries together.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self._root = folder / VERSION
        self._size: int | None = None  # of all entries; counted when first needed

    def read_sets(self, stage: str) -> list[tuple[str, ...]]:
        """Return the sets of fields that values of a stage are known to depend on."""
        found = []
        for path in sorted(self._root.glob(f"{stage}/*.json")):
            with suppress(OSError, ValueError):
                found.append(tuple(map(str, stored_json(path))))
        return found

    def add_reads(self, stage: str, name: str, reads: Sequence[str]) -> None:
        """Keep a set of fields under a name that it alone has."""
        path = self._root / stage / f"{name}.json"
        if not path.exists():
            self._write(path, json.dumps(list(reads)).encode())

    def get(self, stage: str, key: str, classes: Iterable[type]) -> tuple[Any] | None:
        """Return a value, None if there is none; a damaged one is removed, and a warning says so.

        The value comes in a tuple, since it may be None itself.
        """
        path = self._path(stage, key)
        try:
            data = stored_bytes(path)
            value = unpack(data, classes)
        except OSError:
            return None
        except DamagedError as error:
            warnings.warn(
                f"cache entry {path} is damaged ({error}): it is computed again", stacklevel=2
            )
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # it was used: others are older
        return (value,)

    def put(self, stage: str, key: str, value: object) -> None:
        """Keep a value.

        Raises:
            CimsimError: if it cannot be written, such as on a full disk.
        """
        data = pack(value)
        self._write(self._path(stage, key), data)
        if self._size is None:
            self._size = sum(size for _, size, _ in self._entries())
        else:
            self._size += len(data)
        if self._size > self.most_bytes:
            self._forget_oldest()

    @contextmanager
    def claimed(self, stage: str, keys: Iterable[str]) -> Iterator[None]:
        """Hold the claims on values, after whoever holds them; taken in order, against deadlock."""
        with ExitStack() as held:
            for key in sorted(set(keys)):
                held.enter_context(_claim(self._root / stage / CLAIMS / key))
            yield

    def sizes(self) -> tuple[StoreSize, ...]:
        """Return what is kept, by stage."""
        found: dict[str, list[int]] = {}
        for path, size, _ in self._entries():
            found.setdefault(path.parents[2].name, []).append(size)
        return tuple(StoreSize(s, len(sizes), sum(sizes)) for s, sizes in sorted(found.items()))

    def damaged(self) -> Iterator[Path]:
        """Check every entry's checksum; yield and remove those that are damaged."""
        for path, _, _ in self._entries():
            try:
                unpack(stored_bytes(path), ())
            except DamagedError as error:
                if "checksum" in str(error):
                    with suppress(OSError):
                        path.unlink()
                    yield path
            except OSError:  # another process removed it
                continue

    def clear(self) -> int:
        """Remove every entry of any version; return how many.

        Nothing else in the folder is touched: it may be a folder that the user named.
        """
        removed = 0
        for pattern in (f"v*/*/{OURS}/*/*", f"v*/*/{CLAIMS}/*", "v*/*/*.json"):
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    path.unlink()
                    removed += path.parents[1].name == OURS
        for pattern in (f"v*/*/{OURS}/*", f"v*/*/{OURS}", f"v*/*/{CLAIMS}", "v*/*", "v*"):
            for folder in self.folder.glob(pattern):
                with suppress(OSError):
                    folder.rmdir()
        self._size = None
        return removed

    def _path(self, stage: str, key: str) -> Path:
        return self._root / stage / OURS / key[:2] / key

    def _entries(self) -> Iterator[tuple[Path, int, float]]:
        """Yield path, size and time of last use of every entry."""
        for path in self._root.glob(f"*/{OURS}/*/*"):
            with suppress(OSError):
                status = path.stat()
                yield path, status.st_size, status.st_mtime

    def _write(self, path: Path, data: bytes) -> None:
        # Processes of several machines may write at once: a process number is not enough.
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise CimsimError(
                f"the cache cannot be written: {error.strerror}",
                file=self.folder,
                hint="CIMSIM_CACHE_DIR names another folder, --no-cache does without, "
                "`cimsim cache clear` empties it",
            ) from error

    def _forget_oldest(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        self._size = sum(size for _, size, _ in entries)
        for path, size, _ in entries:
            if self._size <= KEPT_SHARE * self.most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            self._size -= size


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    """Wait for the lock of a file and hold it; the file goes with its holder.

    Who waited may hold the lock of a file that is gone: the value is there by then.
    """
    with ExitStack() as held:
        with suppress(OSError):  # no such locks, or no room: both compute
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
