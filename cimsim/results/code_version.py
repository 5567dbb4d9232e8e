"""Which code computed a result: a hash of the sources of the three packages."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["code_version"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cimsim", "moe_mapping", "romer")
# Releases of what computes numbers; a change of another library changes none.
LIBRARIES = ("numpy", "numba", "scipy", "tokenizers", "torch")


@cache
def code_version() -> str:
    """Return 16 hex digits that change with any source file or numeric library.

    Command lines, benches, reports and test tools compute no result and do not count.
    """
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {_release(library)}\n".encode())
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(("cimsim/cli/", "cimsim/bench/", "cimsim/testing/")):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()[:16]


def _release(library: str) -> str:
    try:
        return version(library)
    except ModuleNotFoundError:
        return "none"
