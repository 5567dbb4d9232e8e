"""Decorators for compiled functions.

`kernel` functions are called from Python. `inner` functions are called from compiled code
only; without the wrappers that nobody calls they compile in half the time, which matters
where the first run of a fresh install compiles them all. `inlined` ones sit in hot loops.
"""

from __future__ import annotations

from numba import njit

__all__ = ["inlined", "inner", "kernel"]

kernel = njit(cache=True)
# Numba's type stubs leave these two options out.
inner = njit(  # type: ignore[call-overload]
    cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
inlined = njit(  # type: ignore[call-overload]
    cache=True, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
