"""Folded matrices of one shape on a CUDA device, read together: a product and a kernel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.experts import PURPOSE_FOLDED
from cimsim.backends.torch.fused_experts import finished, quantized
from cimsim.backends.torch.group import Spans
from cimsim.backends.torch.grouped_product import grouped_product
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import sent
from cimsim.backends.torch.stack import FoldedStack
from cimsim.rng import derive_key

__all__ = ["multiply_together"]


def multiply_together(
    stack: FoldedStack,
    x: Tensor,
    of: Tensor | None,
    tokens: Tokens,
    spans: Spans,
    read_seed: int,
    later: Later,
) -> Tensor:
    """Return noisy products of visits, float32 [visits, n_out], as `LoneFolded` gives them.

    Sums are rounded to bf16 once more.

    Args:
        stack: the matrices.
        x: inputs [n, n_in] of tokens, or of visits.
        of: int64 [visits], the token of each; None if inputs are those of visits.
        tokens: addresses of visits.
        spans: visits of each matrix, one after another.
        read_seed: of the noise.
        later: looks at whether inputs are finite.

    Raises:
        CimsimError: if an input is not finite.
    """
    codes, scale = quantized(x, stack.input_max, stack.words[0][0], later)
    if of is not None:
        codes, scale = codes[of], scale[of]
    ends = sent([end for _, end in spans], x.device, torch.int32)
    product = grouped_product(codes, stack.weight, ends)
    keys = [derive_key(read_seed, PURPOSE_FOLDED, *words, 0) for words in stack.words]
    lengths = [end - start for start, end in spans]
    matrix = np.repeat(np.arange(len(spans), dtype=np.int32), lengths)
    return finished(product, scale, stack, tokens, keys, sent(matrix, x.device))
