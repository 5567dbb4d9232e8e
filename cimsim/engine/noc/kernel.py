"""How the kernels of the network and of the compiled engine are compiled.

Numba counts references to every array that a function touches, with an atomic operation each
time; in kernels that move a few words at a time this takes most of the time (the flit-level
network runs five times as fast without), and a good part of the time to compile them. Kernels
that allocate nothing need no counts, and `_nrt=False` leaves them out. Numba refuses at
compile time to allocate in such a function.

Phases of a run go side by side in threads: kernels give up the interpreter's lock.

Numba also wraps every function for calls from Python and from C. Those that only kernels call
go without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from cimsim.kernel_cache import cached

__all__ = ["ONE", "ZERO", "allocating", "inlined", "inner", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"_nrt": False, "nogil": True}
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_COUNTED: dict[str, Any] = {"_nrt": True}

ZERO, ONE = (cast("int", np.int64(k)) for k in range(2))
"""Arguments of kernels. Each literal argument is a type of its own, compiled for by itself."""


def kernel(function: Function) -> Function:
    """Compile a function that allocates nothing.

    Args:
        function: the function.
    """
    compiled: Function = cached(numba.njit(**_OPTIONS)(function))
    return compiled


def inlined(function: Function) -> Function:
    """Compile a small function that allocates nothing into the functions that call it.

    Args:
        function: the function.
    """
    compiled: Function = cached(numba.njit(**_OPTIONS, inline="always")(function))
    return compiled


def inner(function: Function) -> Function:
    """Compile a function that allocates nothing and that only kernels call.

    Args:
        function: the function.
    """
    compiled: Function = cached(numba.njit(**_OPTIONS, **_INNER)(function))
    return compiled


def allocating(function: Function) -> Function:
    """Compile a function that makes arrays and that only kernels call.

    Args:
        function: the function.
    """
    # Said aloud: left out, the option comes from the kernel that calls the function first.
    compiled: Function = cached(numba.njit(**_COUNTED, **_INNER)(function))
    return compiled
