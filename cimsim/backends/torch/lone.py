"""One matrix in its folded form, out of a `FoldedStack` of one."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.experts import PURPOSE_FOLDED, folded_normals
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.stack import FoldedStack
from cimsim.rng import derive_key
from cimsim.workload.matrix import MatrixId

__all__ = ["LoneFolded"]

_OUTPUTS = 1024  # of a program


class LoneFolded:
    """The folded product of one matrix: on a CUDA device a library product and a kernel after it.

    Args:
        stack: the matrix.
        later: looks at whether inputs are finite; None does at once.

    Attributes:
        faithful: whether it errs as its detailed form does.
        level: mean conductance of its cells over g_max.
    """

    def __init__(self, stack: FoldedStack, later: Later | None = None) -> None:
        self._stack, self._later = stack, later or Later()
        self.faithful, self.level = stack.faithful[0], stack.level[0]

    def multiply(self, x: Tensor, tokens: Tokens, *, read_seed: int, replica: int = 0) -> Tensor:
        """Return the noisy product of tokens [n, n_in], float32 [n, n_out].

        Raises:
            CimsimError: if an input is not finite.
        """
        stack = self._stack
        key = derive_key(read_seed, PURPOSE_FOLDED, *stack.words[0], replica)
        if x.is_cuda:
            from cimsim.backends.torch.fused_experts import (  # noqa: PLC0415 - Triton
                finished,
                quantized,
            )

            codes, scale = quantized(x, stack.input_max, stack.words[0][0], self._later)
            product = torch.mm(codes, stack.weight[0].T, out_dtype=torch.float32)
            return finished(product, scale, stack, tokens, [key])
        bits = stack.input_max.bit_length() + 1
        matrix = MatrixId(stack.words[0][0], "matrix")
        q, scale = plain.whole_inputs(x.float(), bits, 0.0, matrix)
        y = torch.matmul(q.float(), stack.weight[0].float().T) + stack.bias[0]
        if stack.noisy:
            y = y + stack.spread[0] * folded_normals(y.shape[1], tokens, key)
        return y * scale[:, None]
