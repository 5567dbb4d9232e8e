"""How the network's kernels are compiled.

Numba counts references to every array that a function touches, with an atomic operation each
time; in kernels that move a few words at a time this takes most of the time (the flit-level
network runs five times as fast without). Kernels that allocate nothing need no counts, and
`_nrt=False` leaves them out. Numba refuses at compile time to allocate in such a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["inlined", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False}


def kernel(function: Function) -> Function:
    """Compile a function that allocates nothing.

    Args:
        function: the function.
    """
    compiled: Function = numba.njit(**_OPTIONS)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a small function that allocates nothing into the functions that call it.

    Args:
        function: the function.
    """
    compiled: Function = numba.njit(**_OPTIONS, inline="always")(function)
    return compiled
