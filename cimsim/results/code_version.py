"""Which code computed a result: a hash of the sources of the three packages and their tables."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path

from cimsim.config.load import bundled_folder

__all__ = ["code_version"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cimsim", "moe_mapping", "romer")
# Releases of what computes numbers; a change of another library changes none.
LIBRARIES = ("numpy", "numba", "scipy", "tokenizers", "torch")
# What is carried out, shown or tested with results, and computes none.
OUTSIDE = ("cimsim/api/", "cimsim/cli/", "cimsim/bench/", "cimsim/testing/")
TABLES = ("published", "technology")  # folders of constants; chips themselves are given
MEMBERS = ("moe_mapping.policies", "romer.steps")  # what other packages add by entry points


@cache
def code_version() -> str:
    """Return 16 hex digits that change with any source file, table or numeric library.

    Command lines, calls, benches, reports and test tools compute no result and do not count.
    """
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {_release(library)}\n".encode())
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(OUTSIDE):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{name} {content}\n".encode())
    for table in TABLES:
        for path in sorted((bundled_folder() / table).rglob("*.yaml")):
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for group in MEMBERS:
        for point in sorted(entry_points(group=group)):
            release = point.dist.version if point.dist else ""
            digest.update(f"{group} {point.name} {point.value} {release}\n".encode())
    return digest.hexdigest()[:16]


def _release(library: str) -> str:
    try:
        return version(library)
    except ModuleNotFoundError:
        return "none"
