"""The exactly rounded fused multiply-add a * b + c in float32, for use inside Numba."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

__all__ = ["fma"]


def _fma(_context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    # Unlike a contraction left to the compiler, llvm.fma.f32 always rounds once: the same
    # bits come out of a vector body, a scalar remainder and another machine.
    signature = types.float32(types.float32, types.float32, types.float32)

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


fma: Any = intrinsic(_fma)
