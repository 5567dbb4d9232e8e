"""Memory that large objects left behind goes back to the system.

A programmed chip is thousands of arrays of a few hundred kilobytes, which the C library
keeps for later when they are freed. Chips run side by side in processes of their own, so
what one keeps another lacks.
"""

from __future__ import annotations

import ctypes
import gc
import sys

__all__ = ["release_heap"]


def release_heap() -> None:
    """Collect reference cycles and return freed pages (glibc; elsewhere only collect)."""
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
