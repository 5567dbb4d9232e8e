"""Kernels compiled from other sources are never loaded."""

from __future__ import annotations

import os
from pathlib import Path

from cimsim.kernel_cache import forget_stale_kernels


def _package(root: Path) -> tuple[Path, Path]:
    source = root / "cimsim" / "engine" / "callee.py"
    cached = source.parent / "__pycache__" / "caller.py311.1.nbc"
    cached.parent.mkdir(parents=True)
    source.write_text("A = 1\n", encoding="utf-8")
    cached.write_bytes(b"machine code")
    return source, cached


def test_kernels_stay_while_no_source_changes(tmp_path: Path) -> None:
    _, cached = _package(tmp_path)
    assert forget_stale_kernels(tmp_path)  # the first look: nobody knows what they are of
    cached.write_bytes(b"machine code")
    assert not forget_stale_kernels(tmp_path)
    assert cached.is_file()


def test_a_changed_callee_in_another_file_drops_every_kernel(tmp_path: Path) -> None:
    source, cached = _package(tmp_path)
    forget_stale_kernels(tmp_path)
    cached.write_bytes(b"machine code")
    before = source.stat()
    source.write_text("A = 2\n", encoding="utf-8")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert forget_stale_kernels(tmp_path)
    assert not cached.exists()


def test_a_removed_source_counts_as_a_change(tmp_path: Path) -> None:
    source, _ = _package(tmp_path)
    (source.parent / "other.py").write_text("", encoding="utf-8")
    forget_stale_kernels(tmp_path)
    (source.parent / "other.py").unlink()
    assert forget_stale_kernels(tmp_path)
