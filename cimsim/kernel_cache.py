"""Compiled kernels on disk, each under the hash of the sources that it was compiled from.

Numba checks a cached kernel against the file and the bytecode of that kernel alone. A kernel
also holds its callees and the constants of other modules, so after an edit of one of those
files the old machine code would go on being loaded, silently. Names of our cached files
therefore carry a digest of the kernel's source file and of every file of the packages that it
imports, directly or through others, wherever Numba keeps them: in the source tree, in
NUMBA_CACHE_DIR or in the user's own cache. A name that other sources had is never used again, so
no crash or race leaves old code behind a new index. Kernels get no functions as arguments, so
what a file does not import is not in its kernels, and an edit there leaves them as they are.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import inspect
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.extending import is_jitted

__all__ = ["cached", "is_missing"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent.parent
IMPORT = re.compile(
    rb"^[ \t]*(?:from|import)[ \t]+((?:cimsim|moe_mapping|romer)[\w.]*)", re.MULTILINE
)


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


def is_missing(kernel: Callable[..., Any]) -> bool:
    """Return whether a kernel can be kept on disk and is not yet, as today's sources have it.

    Args:
        kernel: what `cached` returned.
    """
    cache = getattr(kernel, "_cache", None)
    return isinstance(cache, _KernelCache) and not cache.index_path.exists()


class _KernelFiles(CompileResultCacheImpl):
    """Numba's choice of a folder, and names with the sources' digest."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        self._digest = _sources(Path(inspect.getfile(py_func))).digest
        super().__init__(py_func)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}.{self._digest}"


class _KernelCache(FunctionCache):
    """The cached machine code of one kernel, for the sources of this process alone."""

    _impl_class = _KernelFiles

    @property
    def index_path(self) -> Path:
        """Where the list of what is compiled lies, once there is any."""
        return Path(self.cache_path) / f"{self._impl.filename_base}.nbi"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if not self._sources().unchanged():
            return None
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # A module imported after an edit would be kept under the digest from before it.
        if not self._sources().unchanged():
            return
        try:
            super().save_overload(sig, data)
            self._forget_others()
        except OSError:  # a full disk, say
            _warn()

    def _sources(self) -> _Sources:
        return _sources(Path(inspect.getfile(self._py_func)))

    def _forget_others(self) -> None:
        """Delete what this module's kernels were under other sources, for this Python."""
        module = Path(inspect.getfile(self._py_func)).stem
        python = f".py{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}."
        for path in Path(self.cache_path).glob(f"{module}.*.nb[ic]"):
            if python in path.name and self._sources().digest not in path.name:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Sources:
    """A kernel's source file and all that it imports, as this process met them first.

    Attributes:
        digest: hash of their contents, and of the version of NumPy that makes constants.
        status: file, size and time of change of each, in order of paths.
    """

    digest: str
    status: tuple[tuple[Path, int, int], ...]

    def unchanged(self) -> bool:
        """Whether nobody edited or removed one of the files since."""
        with suppress(FileNotFoundError):
            return all(_status(path) == (path, *rest) for path, *rest in self.status)
        return False


@cache
def _sources(kernel: Path) -> _Sources:
    files, new = {kernel}, [kernel]
    while new:
        found = _imported(new.pop()) - files
        files |= found
        new.extend(found)
    status = tuple(map(_status, sorted(files)))
    digest = hashlib.sha256(f"numpy {np.__version__}\n".encode())
    for path, size, _ in status:
        digest.update(f"{os.path.relpath(path, ROOT)} {size}\n".encode())
        digest.update(path.read_bytes())
    return _Sources(digest.hexdigest()[:16], status)


@cache
def _imported(path: Path) -> set[Path]:
    """Files of the packages that a file imports; of a package, all files directly in it."""
    files: set[Path] = set()
    for name in IMPORT.findall(path.read_bytes()):
        module = ROOT.joinpath(*name.decode().split("."))
        files |= set(module.glob("*.py")) if module.is_dir() else {module.with_suffix(".py")}
    return {file for file in files if file.is_file()}


def _status(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def _warn() -> None:
    """Say once per process that kernels stay in memory; workers leave that to their parent."""
    if multiprocessing.parent_process() is None:
        warnings.warn(
            "compiled kernels cannot be kept on disk, so every process compiles them anew: "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            stacklevel=2,
        )
