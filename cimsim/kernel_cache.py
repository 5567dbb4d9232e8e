"""Compiled kernels on disk, each under the hash of the sources that it was compiled from.

Numba checks a cached kernel against the file and the bytecode of that kernel alone. A kernel
also holds its callees and the constants of other modules, so after an edit of one of those
files the old machine code would go on being loaded, silently. Names of our cached files
therefore carry a digest of every source file of the packages, wherever Numba keeps them: in
the source tree, in NUMBA_CACHE_DIR or in the user's own cache. A name that other sources had
is never used again, so no crash or race leaves old code behind a new index.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import inspect
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.extending import is_jitted

__all__ = ["cached"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cimsim", "moe_mapping", "romer")


def cached(kernel: Kernel) -> Kernel:
    """Keep the machine code of a kernel on disk, in place of Numba's ``cache=True``.

    Where no folder can be written, every process compiles the kernel, and one warning says so.

    Args:
        kernel: a function under `numba.njit` that is not compiled yet.
    """
    if is_jitted(kernel):  # under NUMBA_DISABLE_JIT it is a plain function
        try:
            kernel._cache = _KernelCache(kernel.py_func)  # type: ignore[attr-defined]
        except RuntimeError:  # Numba found no folder that it may write to
            _warn()
    return kernel


class _KernelFiles(CompileResultCacheImpl):
    """Numba's choice of a folder, and names with the sources' digest."""

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}.{_sources().digest}"


class _KernelCache(FunctionCache):
    """The cached machine code of one kernel, for the sources of this process alone."""

    _impl_class = _KernelFiles

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if not _sources().unchanged():
            return None
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # A module imported after an edit would be kept under the digest from before it.
        if not _sources().unchanged():
            return
        try:
            super().save_overload(sig, data)
            self._forget_others()
        except OSError:  # a full disk, say
            _warn()

    def _forget_others(self) -> None:
        """Delete what this module's kernels were under other sources, for this Python."""
        module = Path(inspect.getfile(self._py_func)).stem
        python = f".py{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}."
        for path in Path(self.cache_path).glob(f"{module}.*.nb[ic]"):
            if python in path.name and _sources().digest not in path.name:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Sources:
    """Source files of the packages as this process met them first.

    Attributes:
        digest: hash of their contents, and of the version of NumPy that makes constants.
        status: name, size and time of change of each.
    """

    digest: str
    status: tuple[tuple[str, int, int], ...]

    def unchanged(self) -> bool:
        """Whether nobody edited, added or removed a file since."""
        with suppress(FileNotFoundError):  # removed while we looked
            return self.status == tuple(_status())
        return False


@cache
def _sources() -> _Sources:
    status = tuple(_status())
    found = hashlib.sha256(f"numpy {np.__version__}\n".encode())
    for name, size, _ in status:
        found.update(f"{name} {size}\n".encode())
        found.update((ROOT / name).read_bytes())
    return _Sources(found.hexdigest()[:16], status)


def _status() -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of every source file, in order of names."""
    folders = [name for name in reversed(PACKAGES) if (ROOT / name).is_dir()]
    while folders:
        folder = folders.pop()
        with os.scandir(ROOT / folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
        for entry in inside:
            if entry.name.startswith("."):
                continue  # an editor's lock or copy, and never a module
            if entry.name.endswith(".py"):
                status = entry.stat()
                yield f"{folder}/{entry.name}", status.st_size, status.st_mtime_ns
            elif entry.name != "__pycache__" and entry.is_dir():
                folders.append(f"{folder}/{entry.name}")


def _warn() -> None:
    """Say once a process that kernels stay in memory; workers leave that to their parent."""
    if multiprocessing.parent_process() is None:
        warnings.warn(
            "compiled kernels cannot be kept on disk, so every process compiles them anew: "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            stacklevel=2,
        )
