"""The folded tile in plain torch: slices and cycles as one product, an error an output."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.held import Held, HeldFolded, hold, hold_folded
from cimsim.backends.torch.normals import column_normals
from cimsim.backends.torch.plain import Tokens
from cimsim.mac import ProgrammedMatrix
from cimsim.rng import Key

__all__ = ["ALL_GROUPS", "FoldedTile"]

ALL_GROUPS = 0xFFFF << 6  # stands for row group and plane of what is drawn once an output


class FoldedTile:
    """The folded form of one copy of a weight matrix, with the bits of the Numba tile.

    Sums lie on a grid on which they are exact in float64 (`cimsim.mac.folded`).

    Args:
        programmed: the matrix, written by `cimsim.mac.program_matrix`, or both of its forms, held
            already.
        device: where products run; a matrix that is held stays where it is.

    Raises:
        CimsimError: if the folded form is not faithful to the detailed one.
    """

    def __init__(
        self,
        programmed: ProgrammedMatrix | tuple[Held, HeldFolded],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(programmed, tuple):
            self.held, self.folded = programmed
        else:
            self.held = hold(programmed, torch.device(device))
            self.folded = hold_folded(programmed, torch.device(device))

    def multiply(self, x: Tensor, tokens: Tokens, *, read_seed: int, replica: int = 0) -> Tensor:
        """Return the noisy product of tokens [n, n_in] with the matrix, float32 [n, n_out].

        Arguments and errors are those of `TorchTile.multiply`.
        """
        key = self.held.read_key(read_seed, replica)
        return self.product(*plain.quantize_inputs(x.float(), self.held), tokens, key)

    def product(self, q: Tensor, scale: Tensor, tokens: Tokens, key: Key) -> Tensor:
        """Return the product of integers [n, n_in] of some scale [n], float32 [n, n_out]."""
        held, folded, formats = self.held, self.folded, self.held.formats
        fed = (q + formats.input_shift).double()
        y = torch.matmul(fed, folded.values) * folded.grid
        y = y + held.coefficient * fed.sum(1)[:, None] - held.shift_share + folded.constant
        variance = folded.variance
        if folded.read is not None:
            power = plain.cycle_power(q, held).double() * float(formats.input_step**2)
            variance = variance + torch.matmul(power, folded.read)
        if bool((variance > 0.0).any()):
            sequence, position = tokens
            words = (torch.full_like(position, ALL_GROUPS), position, sequence)
            z = column_normals(formats.n_out, words, key)
            y = y + variance.sqrt() * z.double()
        return (y * (scale.double()[:, None] * held.column_scale.double())).float()
