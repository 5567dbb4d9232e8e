"""Compiled kernels on disk that no longer match their sources are forgotten.

Numba keys a cached kernel by the file of that kernel alone. A kernel inlines its callees and
the constants of other modules, so after an update of one of those files the old machine code
would go on being loaded, silently. Command lines therefore compare all sources of the
packages with those of the last start, and drop every cached kernel if one differs.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

__all__ = ["forget_stale_kernels"]

PACKAGES = ("cimsim", "moe_mapping", "romer")
STAMP = "sources.sha256"


def forget_stale_kernels(root: Path | None = None) -> bool:
    """Delete cached kernels if a source file changed since the last call.

    Args:
        root: folder that holds the packages; that of this installation by default.

    Returns:
        Whether sources changed. Folders that cannot be written are left as they are: what is
        installed there does not change between two starts.
    """
    root = root or Path(__file__).resolve().parent.parent
    folders = [root / name for name in PACKAGES if (root / name).is_dir()]
    digest = _digest(root, folders)
    stamp = folders[0] / "__pycache__" / STAMP
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
        return False
    with suppress(OSError):
        for folder in folders:
            for pattern in ("*.nbi", "*.nbc"):
                for path in folder.rglob(f"__pycache__/{pattern}"):
                    path.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest, encoding="ascii")
    return True


def _digest(root: Path, folders: list[Path]) -> str:
    """Return the hash of name, size and time of change of every source file."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            status = path.stat()
            name = path.relative_to(root).as_posix()
            found.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()
