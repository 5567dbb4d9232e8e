"""Copies of matrices on crossbars as the stages of a run read them, their products in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.held import Held, HeldFolded, HeldIdeal, without_cells
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

    def in_kernels(self, held: Held) -> bool:
        """Whether Triton computes the detailed products of a matrix, from cells of its own."""
        if self.device.type != "cuda":
            return False
        from cimsim.backends.torch.fused import serves  # noqa: PLC0415 - Triton

        return serves(held, self.precision)

    def detailed(self, held: Held) -> tuple[TorchTile, bool]:
        """Return the tile that computes a matrix in detail, and whether it has its own cells."""
        pool = self.pool(held)
        if self.in_kernels(held):
            from cimsim.backends.torch.fused import FusedTile  # noqa: PLC0415 - Triton

            return FusedTile(held, precision=self.precision, pool=pool), True
        return TorchTile(held, precision=self.precision, pool=pool), False

    def folded(self, held: Held, folded: HeldFolded) -> tuple[Any, bool]:
        """Return the tile that computes a folded matrix; it has weights of its own."""
        if self.device.type == "cuda" and self.precision == "fast":
            from cimsim.backends.torch.fused_folded import FusedFolded, folds  # noqa: PLC0415

            if folds(held, folded):
                return FusedFolded((held, folded)), True
        return FoldedTile((without_cells(held), folded)), self.in_kernels(held)


class WrittenCells(Protocol):
    """A matrix as it was written."""

    @property
    def held(self) -> Held:
        """Its cells and converters."""
        ...

    @property
    def mean_fraction(self) -> float:
        """Mean conductance of its cells over g_max."""
        ...

    def folded(self) -> HeldFolded | None:
        """Return the folded form, None where it is not faithful."""
        ...


class TorchCopy:
    """One copy of an analog matrix: what `cimsim.mac.ProgrammedMatrix` is to a run.

    Where a kernel has cells of its own, those that were written are let go; for the other form
    they are written again.

    Args:
        matrix: its name.
        write: writes it.
        reading: how copies are read.
    """

    def __init__(
        self, matrix: MatrixId, write: Callable[[], WrittenCells], reading: Reading
    ) -> None:
        self.matrix, self._write, self._reading = matrix, write, reading
        self._cells: WrittenCells | None = write()
        held = self._cells.held
        self._level = exact_share(self._cells.mean_fraction)
        self._whole_bytes, self.held = held.values.nbytes, without_cells(held)
        self._detailed: TorchTile | None = None
        self._folded: Any = None
        self._folds: bool | None = None

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful."""
        if self._folds is None:
            cells = self._written()
            found = cells.folded()
            self._folds = found is not None
            if found is not None:
                self._folded, taken = self._reading.folded(cells.held, found)
                self._release(taken=taken)
        return self._folds

    @property
    def held_bytes(self) -> int:
        """Bytes that it comes to take: in kernels a byte or two a cell, and a folded form."""
        weights = self.held.formats.n_in * self.held.formats.n_out
        if self._reading.in_kernels(self.held):
            return self._whole_bytes // 2 + 2 * weights
        return 2 * self._whole_bytes + 8 * weights

    def _written(self) -> WrittenCells:
        """Return the cells, written again if they were let go."""
        if self._cells is None:
            self._cells = self._write()
        return self._cells

    def _release(self, *, taken: bool) -> None:
        """Let the cells go if a kernel has taken them."""
        if taken:
            self._cells = None

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
            self._detailed, taken = self._reading.detailed(self._written().held)
            self._release(taken=taken)
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
