"""The folded tile on a CUDA device: one bf16 product with its error in Triton, always `fast`."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from cimsim.backends.torch.feed_kernel import feed_tokens
from cimsim.backends.torch.feeds import Fed
from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.folded_kernel import folded_product
from cimsim.backends.torch.held import Held, HeldFolded, without_cells
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import signed_words
from cimsim.errors import CimsimError
from cimsim.mac import ProgrammedMatrix
from cimsim.rng import Key, derive_key

__all__ = ["FusedFolded", "folds"]

_PURPOSE_FOLDED = 35
_INPUTS, _BAND = 1024, 8
_BLOCK = (128, 128, 64)  # tokens, outputs, inputs at a time


def folds(held: Held, folded: HeldFolded) -> bool:
    """Return whether the kernel computes a folded matrix."""
    return folded.read is None and 2 <= held.formats.input_bits <= 8


class FusedFolded:
    """The folded form of one copy of a weight matrix in bf16: the law of `FoldedTile`, other bits.

    Effective weights are rounded to bf16, sums are float32, and an output's error is drawn by Box
    and Muller from an address of its own.

    Args:
        programmed: the matrix, written by `cimsim.mac.program_matrix`, or both of its forms, held
            already.
        device: a CUDA device.
        native: with instructions of the device, which Triton's interpreter lacks.

    Raises:
        CimsimError: if the folded form is not faithful to the detailed one, or the kernel does not
            do what the tile asks for.
    """

    def __init__(
        self,
        programmed: ProgrammedMatrix | tuple[Held, HeldFolded],
        *,
        device: torch.device | str = "cuda",
        native: bool = True,
    ) -> None:
        whole = FoldedTile(programmed, device=device)
        held, folded, formats = whole.held, whole.folded, whole.held.formats
        if folded.read is not None:
            raise CimsimError(
                "the folded Triton product does not do read noise, whose variance is a second "
                "product",
                key="tile.device.read_noise.sigma",
                value=held.tile.device.read_noise.sigma,
                hint="use the plain FoldedTile",
            )
        if not 2 <= formats.input_bits <= 8:
            raise CimsimError(
                "the folded Triton product takes inputs of 2 to 8 bits",
                key="tile.input.bits", value=formats.input_bits, hint="use the plain FoldedTile",
            )  # fmt: skip
        self._native = native
        effective = folded.values * folded.grid + held.coefficient
        scale = held.column_scale.double()
        # Of shifted inputs a part is the same for every token.
        same = formats.input_shift * effective.sum(0) - held.shift_share + folded.constant
        self.weight = (effective * scale).T.contiguous().bfloat16()
        self._bias = (same * scale).float()
        self._spread = (folded.variance.sqrt() * scale).float()
        self._noisy = bool((folded.variance > 0.0).any())
        self._held = without_cells(held)
        self._place = torch.arange(formats.n_in, dtype=torch.int32, device=device)

    def feed(self, x: Tensor) -> Fed:
        """Quantise tokens [n, n_in] to whole codes in bf16.

        Raises:
            CimsimError: if an input is not finite.
        """
        formats, n = self._held.formats, x.shape[0]
        fed = Fed(
            torch.empty((1, n, formats.n_in), dtype=torch.bfloat16, device=x.device),
            torch.empty(n, dtype=torch.float32, device=x.device),
            torch.empty(n, dtype=torch.float64, device=x.device),
        )
        wrong = torch.zeros(1, dtype=torch.int32, device=x.device)
        if n:
            feed_tokens[(n,)](
                x.contiguous(), self._place, fed.bytes, fed.scale, fed.sums, wrong,
                n, formats.n_in, formats.n_in, self._held.input_scale, formats.input_max, 0,
                PHASES=1, BLOCK=_INPUTS, enable_fp_fusion=False,
            )  # fmt: skip
        if bool(wrong):
            raise CimsimError(f"an input of matrix {formats.tiling.matrix.id} is not finite")
        return fed

    def multiply(
        self,
        x: Tensor,
        tokens: Tokens,
        *,
        read_seed: int,
        replica: int = 0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> Tensor:
        """Return the noisy product of tokens with the matrix, [n, n_out] of `dtype`."""
        key = derive_key(read_seed, _PURPOSE_FOLDED, *self._held.words, replica)
        return self.product(self.feed(x), tokens, key, dtype=dtype)

    def product(
        self, fed: Fed, tokens: Tokens, key: Key, *, dtype: torch.dtype = torch.bfloat16
    ) -> Tensor:
        """Return the product of what `feed` gave."""
        n, (n_out, n_in) = fed.scale.numel(), self.weight.shape
        out = torch.empty((n, n_out), dtype=dtype, device=self.weight.device)
        if n == 0:
            return out
        k0, k1 = signed_words(key)
        rows, columns, depth = _BLOCK
        folded_product[(triton.cdiv(n, rows) * triton.cdiv(n_out, columns),)](
            fed.bytes, self.weight, out, fed.scale, self._bias, self._spread,
            tokens[0].contiguous(), tokens[1].contiguous(), n, n_out, n_in, k0, k1,
            NOISY=self._noisy, NATIVE=self._native, BAND=_BAND, BM=rows, BN=columns, BK=depth,
            num_warps=8, num_stages=4,
        )  # fmt: skip
        return out
