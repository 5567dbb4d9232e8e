"""The tile on a CUDA device through the fused Triton product."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cimsim.backends.torch.feeds import Feeds
from cimsim.backends.torch.held import Held, for_kernels
from cimsim.backends.torch.launch import (
    ADDRESSED,
    NO_NOISE,
    OUTPUT,
    POOL,
    Block,
    Keep,
    Launch,
)
from cimsim.backends.torch.plain import Tokens, driven_variance
from cimsim.backends.torch.pool import NoisePool, window_key
from cimsim.backends.torch.tile import Precision, ReadNoise, TorchTile
from cimsim.backends.torch.unit_columns import UnitCounts, as_matrix, units_of_weights
from cimsim.mac import ProgrammedMatrix
from cimsim.rng import Key

__all__ = ["Block", "FusedTile"]


class FusedTile(TorchTile):
    """One copy of a weight matrix, its products computed by the Triton kernel.

    Args:
        programmed: the matrix, written by `cimsim.mac.program_matrix`, or held already.
        device: a CUDA device.
        precision: `exact` or `fast`.
        pool: normals of fast read noise; needed where a conversion draws.
        read_noise: of `fast`: drawn at every conversion, or once an output, which is approximate.
        block: how a launch is cut; without it what was fastest on an H200.
        cells: of `fast`: the bytes of weights and of unit columns, if they were written as such.
        feeds: the tokens that other matrices were fed last; None keeps those of this one.

    Attributes:
        kernel: launches products with cells of weights.
        units: with unit columns; None without.
        counts: what codes of unit columns count; None without.

    Raises:
        CimsimError: as `TorchTile`, and if the kernel does not do what the tile asks for.
    """

    def __init__(
        self,
        programmed: ProgrammedMatrix | Held,
        *,
        device: torch.device | str = "cuda",
        precision: Precision = "exact",
        pool: NoisePool | None = None,
        read_noise: ReadNoise = "conversion",
        block: Block | None = None,
        cells: tuple[Tensor, Tensor | None] | None = None,
        feeds: Feeds | None = None,
    ) -> None:
        super().__init__(
            programmed, device=device, precision=precision, pool=pool, read_noise=read_noise
        )
        noise = NO_NOISE
        if self.held.draws:
            noise = ADDRESSED if precision == "exact" else POOL
            noise = OUTPUT if read_noise == "output" else noise
        weights = units_of_weights(self.held)
        own, others = (None, None) if cells is None else cells
        exact = precision == "exact"
        self.kernel = Launch(weights, exact=exact, noise=noise, block=block, cells=own, feeds=feeds)
        self.units: Launch | None = None
        self.counts: UnitCounts | None = None
        if self.held.formats.units:
            units = as_matrix(self.held)
            self.units = Launch(units, exact=exact, noise=NO_NOISE, block=block, cells=others)
            wide = torch.float64 if exact else torch.float32
            self.counts = UnitCounts.of(self.held, wide)
        self.held = for_kernels(self.held)

    def multiply(
        self,
        x: Tensor,
        tokens: Tokens,
        *,
        read_seed: int,
        replica: int = 0,
        clipped: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return the noisy product of tokens with the matrix, [n, n_out] of `dtype`.

        The rest is as `TorchTile.multiply`.
        """
        return self._run(x, tokens, read_seed, replica, dtype, clipped)[0]

    def joins(self, other: TorchTile) -> bool:
        """Whether one launch may read both, of matrices of one shape (`FusedGroup`)."""
        return isinstance(other, FusedTile) and self.kernel.joins(other.kernel)

    def key(self, read_seed: int, replica: int = 0) -> Key:
        """Return the key of a copy's normals, or of their places in the pool."""
        if self.kernel.noise == POOL:
            return window_key(read_seed, self.held.words, replica)
        return self.held.read_key(read_seed, replica)

    def code_sum(self, x: Tensor) -> Tensor:
        """Return the sum of the DAC codes of all tokens, int64 []."""
        return self.kernel.code_sums(self.kernel.feed(x)).sum()

    def codes(self, x: Tensor, tokens: Tokens, *, read_seed: int, replica: int = 0) -> Tensor:
        """Return every ADC code, int32 [row groups, n, planes, columns]: for inspection."""
        return self._run(x, tokens, read_seed, replica, torch.float32, None, keep="codes")[1]

    def _run(
        self,
        x: Tensor,
        tokens: Tokens,
        read_seed: int,
        replica: int,
        dtype: torch.dtype,
        clipped: Tensor | None,
        *,
        keep: Keep = "nothing",
    ) -> tuple[Tensor, Tensor]:
        kernel, held = self.kernel, self.held
        driven = None
        if kernel.noise and kernel.by_row:
            driven = driven_variance(self.quantize(x)[0], held)
        key = self.key(read_seed, replica)
        fed = kernel.feed(x)
        found = None
        if self.units is not None and self.counts is not None:
            found = self.units(fed, tokens, key, keep="codes")[1] if keep == "codes" else None
            sums = self.units(fed, tokens, key, clipped=clipped, keep="sums")[1]
            fed = replace(fed, units=self.counts.share(sums))
        out, kept = kernel(fed, tokens, key, self.pool, driven, clipped, dtype=dtype, keep=keep)
        return out, kept if found is None else torch.cat([kept, found], 3)
