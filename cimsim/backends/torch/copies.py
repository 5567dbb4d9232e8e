"""Copies of matrices on crossbars as the stages of a run read them, their products in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.held import Held, HeldFolded, HeldIdeal
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.pool import NoisePool
from cimsim.backends.torch.tile import Precision, TorchTile
from cimsim.mac import MacStatistics, Mode
from cimsim.mac.statistics import MatrixCounts, exact_share
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["Reading", "TorchCopy", "TorchIdeal"]

_CHUNK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 30}  # of column sums at a time, in float64
_POOL_BITS = {"cpu": 18, "cuda": 23}


@dataclass
class Reading:
    """How copies are read: shared by all matrices of a run.

    Attributes:
        device: where tensors lie.
        precision: of the products.
        seed: of the pool that fast noise is drawn from.
    """

    device: torch.device
    precision: Precision
    seed: int
    _pool: NoisePool | None = field(default=None, repr=False)
    _keys: TokenKeys | None = field(default=None, repr=False)
    _tokens: Tokens | None = field(default=None, repr=False)

    def tokens(self, keys: TokenKeys) -> Tokens:
        """Return addresses as tensors; those of the last keys are kept."""
        if self._tokens is None or keys is not self._keys:
            on = [torch.from_numpy(a).to(self.device) for a in (keys.sequence, keys.position)]
            self._keys, self._tokens = keys, (on[0], on[1])
        return self._tokens

    def pool(self, held: Held) -> NoisePool | None:
        """Return the normals of fast noise, drawn once, if a matrix needs them."""
        if self.precision == "exact" or not held.draws:
            return None
        if self._pool is None:
            bits = _POOL_BITS[self.device.type]
            self._pool = NoisePool.draw(self.seed, self.device, bits)
        return self._pool

    def detailed(self, held: Held) -> TorchTile:
        """Return the tile that computes a matrix in detail: Triton's where its kernel does it."""
        pool = self.pool(held)
        if self.device.type == "cuda":
            from cimsim.backends.torch.fused import FusedTile, serves  # noqa: PLC0415 - Triton

            if serves(held, self.precision):
                return FusedTile(held, precision=self.precision, pool=pool)
        return TorchTile(held, precision=self.precision, pool=pool)

    def folded(self, held: Held, folded: HeldFolded) -> Any:
        """Return the tile that computes a folded matrix."""
        if self.device.type == "cuda" and self.precision == "fast":
            from cimsim.backends.torch.fused_folded import FusedFolded, folds  # noqa: PLC0415

            if folds(held, folded):
                return FusedFolded((held, folded))
        return FoldedTile((held, folded))


class TorchCopy:
    """One copy of an analog matrix: what `cimsim.mac.ProgrammedMatrix` is to a run.

    Args:
        matrix: its name.
        held: its cells and converters.
        mean_fraction: mean conductance of its cells over g_max.
        fold: makes the folded form, None where it is not faithful.
        reading: how copies are read.
    """

    def __init__(
        self,
        matrix: MatrixId,
        held: Held,
        mean_fraction: float,
        fold: Callable[[], HeldFolded | None],
        reading: Reading,
    ) -> None:
        self.matrix, self.held = matrix, held
        self._level, self._fold, self._reading = exact_share(mean_fraction), fold, reading
        self._detailed: TorchTile | None = None
        self._folded: Any = None
        self._folds: bool | None = None

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful."""
        if self._folds is None:
            found = self._fold()
            self._folds = found is not None
            if found is not None:
                self._folded = self._reading.folded(self.held, found)
        return self._folds

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes: cells, the kernel's bytes of them, a folded form in float64."""
        return 2 * self.held.values.nbytes + 8 * self.held.formats.n_in * self.held.formats.n_out

    def forget_folded(self) -> None:
        """Free the folded form; it is made again, with the same bits, when it is next used."""
        self._folded = self._folds = None

    def multiply(
        self,
        x: Any,
        keys: TokenKeys,
        *,
        read_seed: int,
        mode: Mode,
        replica: int,
        statistics: MacStatistics | None,
    ) -> Any:
        """Return the noisy product of tokens, float32 [n, n_out].

        Arguments and errors are those of `cimsim.mac.ProgrammedMatrix.multiply`, with tensors.
        """
        n, formats = len(x), self.held.formats
        if n == 0:
            return x.new_zeros((0, formats.n_out))
        if mode == "folded" and self.folds:
            tokens = self._reading.tokens(keys)
            out = self._folded.multiply(x, tokens, read_seed=read_seed, replica=replica)
            counts = MatrixCounts(vectors=n)
        else:
            counts = MatrixCounts(vectors=n, conversions=n * formats.tiling.conversions_per_vector)
            counts.code_slots = n * formats.planes * formats.n_in * formats.full_code
            counted = None if statistics is None else counts
            out = self._in_detail(x, keys, read_seed, replica, counted)
        if statistics is not None:
            counts.level_fraction_sum = n * self._level
            statistics.add(self.matrix, counts)
        return out.float()

    def _in_detail(
        self, x: Tensor, keys: TokenKeys, read_seed: int, replica: int, counts: MatrixCounts | None
    ) -> Tensor:
        """Return the detailed product, some tokens at a time; none depends on the others."""
        if self._detailed is None:
            self._detailed = self._reading.detailed(self.held)
        tile, formats = self._detailed, self.held.formats
        clipped = None if counts is None else torch.zeros((), dtype=torch.int64, device=x.device)
        wide = 8 * formats.planes * max(formats.columns, formats.n_in)
        chunk = max(1, _CHUNK_BYTES[x.device.type] // wide)
        sequence, position = self._reading.tokens(keys)
        found = []
        for first in range(0, len(x), chunk):
            rows = slice(first, first + chunk)
            some = (sequence[rows], position[rows])
            found.append(
                tile.multiply(x[rows], some, read_seed=read_seed, replica=replica, clipped=clipped)
            )
            if counts is not None:
                planes = plain.planes_of(tile.quantize(x[rows])[0], self.held)
                counts.code_sum += int(planes.abs().sum())
        if counts is not None and clipped is not None:
            counts.clipped += int(clipped)
        return torch.cat(found)


class TorchIdeal:
    """The exact integer product of one matrix: what `cimsim.mac.IdealMatrix` is to a run.

    Args:
        ideal: the matrix.
    """

    folds = True  # exact arithmetic is the same in both modes

    def __init__(self, ideal: HeldIdeal) -> None:
        self._ideal = ideal

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes."""
        return self._ideal.values.nbytes

    def forget_folded(self) -> None:
        """Do nothing: there is no second form."""

    def multiply(
        self,
        x: Any,
        keys: TokenKeys,
        *,
        read_seed: int,
        mode: Mode,
        replica: int,
        statistics: MacStatistics | None,
    ) -> Any:
        """Return the exact product of quantised tokens, float32 [n, n_out]."""
        del keys, read_seed, mode, replica
        held, n = self._ideal, len(x)
        if n == 0:
            return x.new_zeros((0, held.values.shape[1]))
        q, scale = plain.whole_inputs(x.float(), held.input_bits, held.input_scale, held.matrix)
        exact = torch.matmul(q.to(held.values.dtype), held.values).double()
        if statistics is not None:
            fed = q >> 1 if held.input_bits == 1 else q  # +-1 are fed as their sign bit
            ones = sum((fed >> bit & 1).sum() for bit in range(held.input_bits))
            counts = MatrixCounts(vectors=n, code_sum=int(ones))
            counts.code_slots = q.numel() * held.input_bits
            counts.level_fraction_sum = n * exact_share(held.mean_fraction)
            statistics.add(held.matrix, counts)
        return (exact * (scale.double()[:, None] * held.scale.double())).float()
