"""Decorators for compiled functions.

`kernel` functions are called from Python. `inner` functions are called from compiled code
only; without the wrappers that nobody calls they compile in half the time, which matters
where the first run of a fresh install compiles them all. `inlined` ones sit in hot loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

from cimsim.kernel_cache import cached

__all__ = ["inlined", "inner", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])

_CALLED: dict[str, Any] = {"nogil": True}  # other threads go on meanwhile
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: Function) -> Function:
    """Compile a function for calls from Python."""
    compiled: Function = njit(**_CALLED)(function)
    return cached(compiled)


def inner(function: Function) -> Function:
    """Compile a function that only kernels call."""
    compiled: Function = njit(**_INNER)(function)
    return cached(compiled)


def inlined(function: Function) -> Function:
    """Compile a function into the kernels that call it."""
    compiled: Function = njit(**_INNER, forceinline=True)(function)
    return cached(compiled)
