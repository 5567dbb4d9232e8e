"""One programmed matrix on a torch device, and its product with tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.held import Held, hold
from cimsim.backends.torch.normals import column_normals
from cimsim.backends.torch.packed import coarse
from cimsim.backends.torch.plain import Tokens, Total
from cimsim.backends.torch.pool import MOST_OUTPUTS, NoisePool, pool_normals, window_key
from cimsim.errors import CimsimError
from cimsim.mac import ProgrammedMatrix
from cimsim.mac.formats import FEED

__all__ = ["Precision", "ReadNoise", "TorchTile"]

Precision = Literal["exact", "fast"]
ReadNoise = Literal["conversion", "output"]
_ALL_GROUPS = 0xFFFF << 6  # stands for row group and plane of what is drawn once an output


class TorchTile:
    """One copy of a weight matrix, its products computed by plain torch.

    Args:
        programmed: the matrix, written by `cimsim.mac.program_matrix`, or held already.
        device: where products run; a matrix that is held stays where it is.
        precision: `exact`, or `fast` (`cimsim.backends.torch`).
        pool: normals of fast read noise; needed where a conversion draws.
        read_noise: of `fast`: drawn at every conversion, or once an output, which is approximate.

    Raises:
        CimsimError: if noise of `exact` is asked for once an output, or `fast` has no pool to draw
            from or one of another device.
    """

    def __init__(
        self,
        programmed: ProgrammedMatrix | Held,
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "exact",
        pool: NoisePool | None = None,
        read_noise: ReadNoise = "conversion",
    ) -> None:
        held = programmed
        if not isinstance(held, Held):
            held = hold(held, torch.device(device))
        self.held: Held = held if precision == "exact" else coarse(held)
        self.precision, self.read_noise, self.pool = precision, read_noise, pool
        _check(self.held, precision, read_noise, pool)

    def joins(self, other: TorchTile) -> bool:
        """Whether one launch may read both, of matrices of one shape: not in plain torch."""
        del other
        return False

    def quantize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return input codes int64 [n, n_in] and scales float32 [n] of inputs [n, n_in]."""
        return plain.quantize_inputs(x.float(), self.held)

    def multiply(
        self,
        x: Tensor,
        tokens: Tokens,
        *,
        read_seed: int,
        replica: int = 0,
        clipped: Tensor | None = None,
    ) -> Tensor:
        """Return the noisy product of tokens with the matrix.

        Args:
            x: [n, n_in].
            tokens: addresses, which key fresh noise.
            read_seed: seed of fresh noise.
            replica: which copy of the matrix this is; keys fresh noise.
            clipped: int64 [], to which conversions outside the range are added; or None.

        Returns:
            float32 [n, n_out].

        Raises:
            CimsimError: if an input is not finite.
        """
        q, scale = self.quantize(x)
        total = Total(self.held)
        spread = torch.zeros((), dtype=torch.float64, device=q.device)
        for g, (sums, variance) in enumerate(plain.sums_of_groups(q, self.held)):
            noise = None
            if variance is not None and self.read_noise == "output":
                spread = spread + plain.variance_of_outputs(self.held, g, variance)
            elif variance is not None:
                noise = self._noise(g, variance, tokens, read_seed, replica)
            total.add(g, plain.codes_of(self.held, g, sums, noise, clipped))
        if self.read_noise == "output" and self.held.draws:
            words = (torch.full_like(tokens[1], _ALL_GROUPS), tokens[1], tokens[0])
            z = column_normals(
                self.held.formats.n_out, words, self.held.read_key(read_seed, replica)
            )
            total.codes = total.codes + spread.sqrt() * z
        return plain.finish(total, q, scale, self.held)

    def code_sum(self, x: Tensor) -> Tensor:
        """Return the sum of the magnitudes of the DAC codes of all tokens, int64 []."""
        return plain.planes_of(self.quantize(x)[0], self.held).abs().sum()

    def codes(self, x: Tensor, tokens: Tokens, *, read_seed: int, replica: int = 0) -> Tensor:
        """Return every ADC code, int32 [row groups, n, planes, columns]: for inspection."""
        q, _ = self.quantize(x)
        found = []
        for g, (sums, variance) in enumerate(plain.sums_of_groups(q, self.held)):
            noise = None
            if variance is not None:
                noise = self._noise(g, variance, tokens, read_seed, replica)
            found.append(plain.codes_of(self.held, g, sums, noise).int())
        return torch.stack(found)

    def _noise(
        self, g: int, variance: Tensor, tokens: Tokens, read_seed: int, replica: int
    ) -> Tensor:
        """Return what fresh noise adds to the conversions of a row group, in codes."""
        held, formats = self.held, self.held.formats
        if self.pool is None:
            z = plain.addressed_normals(held, g, tokens, held.read_key(read_seed, replica))
        else:
            widths = [formats.n_out] * formats.stored_columns
            widths += [formats.units] if formats.units else []
            key = window_key(read_seed, held.words, replica)
            phases = 2 if formats.feed == FEED["two_phase"] else 1
            planes = (phases, formats.planes // phases)
            z = pool_normals(self.pool, g, planes, widths, tokens, key)
        return variance.sqrt() * z.to(variance.dtype)


def _check(held: Held, precision: Precision, read_noise: ReadNoise, pool: NoisePool | None) -> None:
    """Refuse choices that do not go together."""
    if precision == "exact" and read_noise == "output":
        raise CimsimError(
            "exact read noise is drawn at every conversion",
            key="read_noise",
            value=read_noise,
            allowed="conversion",
        )
    wanted = precision == "fast" and read_noise == "conversion" and held.draws
    if (pool is not None) != wanted:
        raise CimsimError(
            "fast read noise of every conversion is drawn from a pool, and nothing else is",
            key="pool",
            value=None if pool is None else f"2^{pool.bits} words",
            allowed="a NoisePool" if wanted else "None",
        )
    if pool is not None and pool.words.device != held.values.device:
        raise CimsimError(
            "the pool lies on another device than the tile",
            key="pool",
            value=str(pool.words.device),
            allowed=str(held.values.device),
        )
    if pool is not None and held.formats.n_out > MOST_OUTPUTS:
        raise CimsimError(
            "a run of the pool serves fewer outputs than the matrix has",
            value=held.formats.n_out,
            allowed=f"at most {MOST_OUTPUTS}",
        )
