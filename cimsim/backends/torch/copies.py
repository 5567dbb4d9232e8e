"""Copies of matrices on crossbars as the stages of a run read them, their products in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from cimsim.backends.torch.feeds import Feeds
from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.forms import Forms
from cimsim.backends.torch.held import Held, HeldFolded, without_cells
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.memory import DeviceMemory, Kept
from cimsim.backends.torch.order import Order
from cimsim.backends.torch.packed import cell_grid
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.pool import NoisePool
from cimsim.backends.torch.sending import sent
from cimsim.backends.torch.tile import Precision, TorchTile
from cimsim.mac import MacStatistics, Mode
from cimsim.mac.formats import Formats
from cimsim.mac.statistics import MatrixCounts, exact_share
from cimsim.workload.matrix import MatrixId, TokenKeys

if TYPE_CHECKING:
    from cimsim.backends.torch.direct import Bytes

__all__ = ["Reading", "TorchCopy", "tiles_of"]

_CHUNK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 30}  # of column sums at a time, in float64
_WRITTEN_TOGETHER = 1 << 26  # weights of matrices
_POOL_BITS = {"cpu": 18, "cuda": 23}


@dataclass
class Reading:
    """How copies are read: shared by all matrices of a run.

    Attributes:
        device: where tensors lie.
        precision: of the products.
        seed: of the pool that fast noise is drawn from.
        forms: folded forms that are written together.
        memory: what is kept of weights and written matrices.
        tiles: keeps detailed tiles on a device.
        later: looks at what a device has found.
        feeds: the tokens that a detailed product was fed last.
    """

    device: torch.device
    precision: Precision
    seed: int
    forms: Forms
    memory: DeviceMemory
    tiles: Kept
    later: Later = field(default_factory=Later)
    feeds: Feeds = field(init=False, repr=False)
    _pool: NoisePool | None = field(default=None, repr=False)
    _keys: TokenKeys | None = field(default=None, repr=False)
    _tokens: Tokens | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.feeds = Feeds(self.later)

    def tokens(self, keys: TokenKeys) -> Tokens:
        """Return addresses as tensors; those of the last keys are kept."""
        if self._tokens is None or keys is not self._keys:
            self._keys = keys
            self._tokens = sent(keys.sequence, self.device), sent(keys.position, self.device)
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
        from cimsim.backends.torch.launch import serves  # noqa: PLC0415 - Triton

        return serves(held, self.precision)

    def detailed(self, held: Held) -> tuple[TorchTile, bool]:
        """Return the tile that computes a matrix in detail, and whether it has its own cells."""
        pool = self.pool(held)
        if self.in_kernels(held):
            from cimsim.backends.torch.fused import FusedTile  # noqa: PLC0415 - Triton

            return FusedTile(held, precision=self.precision, pool=pool, feeds=self.feeds), True
        return TorchTile(held, precision=self.precision, pool=pool), False

    def of_bytes(self, written: Bytes) -> TorchTile:
        """Return the tile that computes a matrix in detail from bytes that were written."""
        from cimsim.backends.torch.fused import FusedTile  # noqa: PLC0415 - Triton

        cells, pool = (written.weights, written.units), self.pool(written.held)
        return FusedTile(
            written.held, precision=self.precision, pool=pool, cells=cells, feeds=self.feeds
        )

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
        formats: of its cells.
        write: writes it, when it is first read.
        reading: how copies are read.
        order: what its folded form is written from, without cells in between; or None.
        direct: what it is written from as the bytes that kernels read, where a device does; or
            None.
    """

    def __init__(
        self,
        matrix: MatrixId,
        formats: Formats,
        write: Callable[[], WrittenCells],
        reading: Reading,
        order: Order | None = None,
        direct: Order | None = None,
    ) -> None:
        self.matrix, self.formats, self.order = matrix, formats, order
        self._write, self._reading, self._direct = write, reading, direct
        self._cells: WrittenCells | None = None
        self._level: float | None = None
        self._mean: Tensor | None = None  # what the level is rounded from, not looked at yet
        self._without_cells: Held | None = None
        self._detailed: TorchTile | None = None
        self._folded: Any = None
        self._folds: bool | None = None

    @property
    def held(self) -> Held:
        """What is known of it beside its cells."""
        if self._without_cells is None:
            self._written()
        return cast(Held, self._without_cells)

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful."""
        if self._folds is None and self.order is not None:
            self._folds, level = self._reading.forms.known(self.order)
            self._level = exact_share(level)
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
        """Bytes that it comes to take, but for what `Reading` keeps of it."""
        cells = self.formats.n_in * self.formats.columns
        weights = self.formats.n_in * self.formats.n_out
        if self._reading.device.type == "cuda":
            return 0 if self.order else 2 * weights
        return 8 * cells + 8 * weights

    def _written(self) -> WrittenCells:
        """Return the cells, written again if they were let go."""
        if self._cells is None:
            self._cells = self._write()
            self._without_cells = without_cells(self._cells.held)
            self._level = exact_share(self._cells.mean_fraction)
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
        n, counted = len(x), statistics is not None
        if n == 0:
            return x.new_zeros((0, self.formats.n_out))
        if mode == "folded" and self.folds:
            tokens = self._reading.tokens(keys)
            folded = self._folded if self.order is None else self._reading.forms.lone(self.order)
            out = folded.multiply(x, tokens, read_seed=read_seed, replica=replica)
        else:
            out, sums = self._in_detail(x, keys, read_seed, replica, counted=counted)
            if statistics is not None:
                self.count_conversions(statistics, n, sums)
            return out.float()
        if statistics is not None:
            self.count_vectors(statistics, n)
        return out.float()

    def count_vectors(self, statistics: MacStatistics, vectors: int) -> None:
        """Count a folded product, which makes no conversions."""
        self._count(statistics, MatrixCounts(vectors=vectors), [])

    def count_conversions(
        self, statistics: MacStatistics, vectors: int, sums: list[Tensor]
    ) -> None:
        """Count a detailed product.

        Args:
            statistics: where.
            vectors: how many were multiplied.
            sums: int64 [] each, conversions that clipped and the sum of DAC codes.
        """
        counts, formats = MatrixCounts(vectors=vectors), self.formats
        counts.conversions = vectors * formats.tiling.conversions_per_vector
        counts.code_slots = vectors * formats.planes * formats.n_in * formats.full_code
        self._count(statistics, counts, sums)

    def _count(self, statistics: MacStatistics, counts: MatrixCounts, sums: list[Tensor]) -> None:
        """Add what was counted, once the device has said it: what clipped, the sum of codes."""
        if self._level is None and self._mean is None:
            self._written()
        asked = sums if self._mean is None else [*sums, self._mean]

        def add(found: Sequence[float]) -> None:
            if self._level is None:
                self._level, self._mean = exact_share(found[-1]), None
            if sums:
                counts.clipped, counts.code_sum = int(found[0]), int(found[1])
            counts.level_fraction_sum = counts.vectors * self._level
            statistics.add(self.matrix, counts)

        self._reading.later.ask(asked, add)

    def tile(self, *, counted: bool) -> TorchTile:
        """Return the detailed tile; on a device those read last are kept."""
        make = partial(self._make_tile, counted=counted)
        if self._reading.device.type == "cuda":
            return self._kept(make)
        if self._detailed is None:
            self._detailed = make()
        return self._detailed

    @property
    def unwritten(self) -> Order | None:
        """What a device writes it from as bytes; None if it does not, or keeps them."""
        return self._direct if self._reading.tiles.known(self) is None else None

    def _kept(self, make: Callable[[], TorchTile]) -> TorchTile:
        """Return the tile that is kept, or keep one that is made."""
        digits = 2 if self._direct is None else cell_grid(self._direct.writer)[0]
        comes = digits * self.formats.n_in * self.formats.columns
        tile: TorchTile = self._reading.tiles.get(self, comes, make)
        return tile

    def _make_tile(self, *, counted: bool) -> TorchTile:
        if self._direct is not None:
            tile = self._of_bytes(written_of([self._direct])[0], counted=counted)
            if tile is not None:
                return tile
        tile, taken = self._reading.detailed(self._written().held)
        self._release(taken=taken or self._reading.device.type == "cuda")
        return tile

    def _of_bytes(self, written: Bytes, *, counted: bool) -> TorchTile | None:
        """Return the tile of what was written; None if no kernel reads it."""
        if not self._reading.in_kernels(written.held):
            self._direct = None
            return None
        if counted and self._level is None:
            self._mean = written.mean_fraction()
        return self._reading.of_bytes(written)

    def _in_detail(
        self, x: Tensor, keys: TokenKeys, read_seed: int, replica: int, *, counted: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the detailed product, some tokens at a time; none depends on the others.

        With it, if counted, how many conversions clipped and the sum of DAC codes, int64 [].
        """
        tile, formats = self.tile(counted=counted), self.formats
        sums: list[Tensor] = []  # clipped conversions, codes
        if counted:
            sums += torch.zeros((2,), dtype=torch.int64, device=x.device).unbind()
        clipped = sums[0] if counted else None
        wide = 8 * formats.planes * max(formats.columns, formats.n_in)
        chunk = max(1, _CHUNK_BYTES[x.device.type] // wide)
        sequence, position = self._reading.tokens(keys)
        found = []
        for first in range(0, len(x), chunk):
            rows = slice(first, first + chunk)
            part, some = x[rows], (sequence[rows], position[rows])
            found.append(
                tile.multiply(part, some, read_seed=read_seed, replica=replica, clipped=clipped)
            )
            if counted:
                sums[1] += tile.code_sum(part)
        out = found[0] if len(found) == 1 else torch.cat(found)
        return out, sums


def tiles_of(copies: Sequence[TorchCopy], *, counted: bool) -> list[TorchTile]:
    """Return the detailed tiles of copies of matrices of one shape on one chip.

    Those that a device writes, and does not keep, are written together.

    Args:
        copies: of the matrices.
        counted: whether the mean conductance of their cells will be asked for.
    """
    found: dict[int, TorchTile] = {}
    unwritten = {i: order for i, copy in enumerate(copies) if (order := copy.unwritten)}
    step = max(1, _WRITTEN_TOGETHER // (copies[0].formats.n_in * copies[0].formats.n_out))
    places = list(unwritten)
    for first in range(0, len(places), step):
        some = places[first : first + step]
        for i, written in zip(some, written_of([unwritten[i] for i in some]), strict=True):
            tile = copies[i]._of_bytes(written, counted=counted)
            if tile is not None:
                found[i] = copies[i]._kept(partial(_same, tile))
    return [found.get(i) or copy.tile(counted=counted) for i, copy in enumerate(copies)]


def _same(tile: TorchTile) -> TorchTile:
    return tile


def written_of(orders: Sequence[Order]) -> list[Bytes]:
    """Write matrices of one shape on a device as the bytes that kernels read."""
    from cimsim.backends.torch.direct import write_bytes  # noqa: PLC0415 - Triton

    return write_bytes(orders)
