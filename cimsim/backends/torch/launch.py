"""Launches of the fused Triton product: cells as it reads them, and how it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import triton
from torch import Tensor

from cimsim.backends.torch.feed_kernel import feed_tokens
from cimsim.backends.torch.feeds import Fed, Feeds
from cimsim.backends.torch.group import Columns, Group
from cimsim.backends.torch.held import Held, for_kernels
from cimsim.backends.torch.kernel import fused_product
from cimsim.backends.torch.normals import packed_table
from cimsim.backends.torch.packed import cell_bytes, column_order, padded_rows, short_places
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.pool import STEPS_PER_SIGMA, NoisePool, planes_of_round
from cimsim.backends.torch.sending import constant, sent, signed_words
from cimsim.backends.torch.tile import Precision
from cimsim.errors import CimsimError
from cimsim.mac.formats import FEED, Formats
from cimsim.rng import Key

__all__ = [
    "ADDRESSED",
    "NO_NOISE",
    "OUTPUT",
    "POOL",
    "Block",
    "Launch",
    "serves",
]

Keep = Literal["nothing", "codes", "sums"]  # of codes

_CHUNK = 256  # rows multiplied at once
_INPUTS = 1024  # of a token at a time
_CODES = 1 << 26  # looked up at a time
_WHOLE_VALUES = {FEED["value"], FEED["shifted_value"]}
NO_NOISE, ADDRESSED, POOL, OUTPUT = range(4)  # as the kernel names them


@dataclass(frozen=True)
class Block:
    """How a launch is cut; no result depends on it.

    Attributes:
        tokens: of a program.
        outputs: of a program.
        warps: of a program.
        stages: of loads ahead.
        native: with instructions of the device, which Triton's interpreter lacks.
    """

    tokens: int = 64
    outputs: int = 64
    warps: int = 4
    stages: int = 2
    native: bool = True


class Launch:
    """Cells of one matrix as the kernel reads them, and what it needs to know of formats.

    Args:
        held: the matrix.
        exact: whether steps are those of the Numba tile.
        noise: where fresh noise comes from.
        block: how a launch is cut, None for what was fastest.
        cells: bytes that were written as such, outputs in their own order; None cuts `held`.
        feeds: the tokens that other matrices were fed last; None keeps those of this one.

    Attributes:
        noise: as given.
        by_row: whether variances depend on what drives the rows.
        cells: int8 [stored columns x digits, n_out, padded rows].
        columns: constants of outputs.
        signs: int8 [groups, stored columns, n_out] of complements; anything without.
        has_signs: whether there are complements.
        factors: codes a grid unit, variance a grid unit of the sum, and of every conversion.

    Raises:
        CimsimError: if the kernel does not do what the tile asks for; it names what.
    """

    def __init__(
        self,
        held: Held,
        *,
        exact: bool,
        noise: int,
        block: Block | None,
        cells: Tensor | None = None,
        feeds: Feeds | None = None,
    ) -> None:
        native = block is None or block.native
        for problem, key, value in _refusals(held, noise, native=native):
            raise CimsimError(
                f"the Triton product does not do {problem}", key=key, value=value,
                hint="use the plain TorchTile",
            )  # fmt: skip
        formats, device = held.formats, held.values.device
        if block is None:
            block = _block_of(formats, noise)
        self._held, self._exact, self.noise, self._block = held, exact, noise, block
        self._feeds = feeds or Feeds()
        order = column_order(held) if noise in {ADDRESSED, OUTPUT} else None
        self.cells = cell_bytes(held, order) if cells is None else cells
        self._place = short_places(formats, device)
        there = slice(None) if order is None else order
        numbers = constant(np.arange(formats.n_out, dtype=np.int32), device)
        self.columns = Columns(
            held.column_scale[there],
            held.coefficient[there],
            held.shift_share[there],
            numbers if order is None else order.int(),
            _errors(held, order),
            held.column_weight.int(),
        )
        self.signs = held.column_scale
        if held.signs is not None:
            signs = held.signs if order is None else held.signs[..., order]
            self.signs = signs.to(torch.int8).contiguous()
        self._phases = 2 if formats.feed == FEED["two_phase"] else 1
        self._whole = exact and _greatest_sum(held) > 2**24
        self.by_row = held.noise.row_variance > 0.0
        # Fast noise is drawn in steps of the pool.
        self._per_step = 1.0 / STEPS_PER_SIGMA**2 if noise == POOL else 1.0
        inverse, slope = held.grid / held.step_levels, held.noise.slope * self._per_step
        self.factors = inverse, slope, self._shared()
        self._table = packed_table(device)
        self.has_signs = held.signs is not None
        self._held = for_kernels(held)

    @cached_property
    def _step(self) -> Tensor:
        return sent(self._held.step_levels, self._place.device, torch.float64)

    @cached_property
    def _variance(self) -> Tensor:
        return sent([self.factors[2]], self._place.device, torch.float32)

    @property
    def _alone(self) -> Group:
        """What a launch of this matrix alone reads; of the tables nothing."""
        none = self._place
        return Group(self.columns, self.signs, self._step, none, none, none)

    def joins(self, other: Launch) -> bool:
        """Whether one launch may read both: what is not in the tables of a group is the same."""
        static = self._held.input_scale > 0.0
        noise = self.noise in {NO_NOISE, POOL} and not (self.noise and self.by_row)
        alike = self.cells.shape == other.cells.shape and self._held.tile is other._held.tile
        return alike and noise and not static

    @property
    def errs(self) -> bool:
        """Whether converters have frozen errors."""
        return self._held.errors is not None

    @property
    def step_levels(self) -> float:
        """Levels a code."""
        return self._held.step_levels

    @property
    def tokens_of_program(self) -> int:
        """How many tokens a program computes."""
        return self._block.tokens

    @property
    def _codes_of_bytes(self) -> Tensor:
        """What DAC codes a fed byte is cut into, summed: int32 [256]."""
        formats, byte = self._held.formats, np.arange(256, dtype=np.int32)
        found = np.where(byte > 127, 256 - byte, byte)
        if formats.feed not in _WHOLE_VALUES:
            mask, each = (1 << formats.dac_bits) - 1, formats.planes // self._phases
            found = sum((byte >> formats.dac_bits * k & mask for k in range(each)), 0 * byte)
        return constant(found.astype(np.int32), self._place.device)

    def code_sums(self, fed: Fed) -> Tensor:
        """Return the sum of the DAC codes of every token, int64 [n]: of a byte by a table."""

        def add() -> Tensor:
            step = max(1, _CODES // (fed.bytes.shape[0] * fed.bytes.shape[2]))
            parts: list[Tensor] = []
            for first in range(0, max(1, fed.bytes.shape[1]), step):
                some = fed.bytes[:, first : first + step].view(torch.uint8)
                codes = self._codes_of_bytes[some.int()]
                parts.append(codes.sum((0, 2), dtype=torch.int64))
            return torch.cat(parts)

        return self._feeds.sums_of(fed, add)

    def _shared(self) -> float:
        """Return the variance of every conversion (every output, once an output)."""
        held = self._held
        if self.noise != OUTPUT:
            return held.noise.adc_variance * self._per_step
        weights = held.plane_weight.square().sum() * held.column_weight.square().sum()
        return held.noise.adc_variance * float(weights) * len(held.formats.groups)

    def feed(self, x: Tensor) -> Fed:
        """Quantise tokens [n, n_in] to what rows are driven with; those fed last are kept.

        Raises:
            CimsimError: if an input is not finite.
        """
        formats = self._held.formats
        form = (
            formats.n_in, self.cells.shape[2], padded_rows(formats), self._phases,
            self._held.input_scale, formats.input_max, formats.input_shift, formats.dac_bits,
            formats.feed,
        )  # fmt: skip
        return self._feeds.of(x, form, lambda: self._fed(x))

    def _fed(self, x: Tensor) -> Fed:
        held, formats, n = self._held, self._held.formats, x.shape[0]
        depth = self.cells.shape[2]
        whole = formats.n_in == depth
        room = torch.empty if whole else torch.zeros
        fed = Fed(
            room((self._phases, n, depth), dtype=torch.int8, device=x.device),
            torch.empty(n, dtype=torch.float32, device=x.device),
            torch.empty(n, dtype=torch.float64, device=x.device),
        )
        wrong = torch.zeros(1, dtype=torch.int32, device=x.device)
        if n:
            feed_tokens[(n,)](
                x.contiguous(), self._place, fed.bytes, fed.scale, fed.sums, wrong,
                n, formats.n_in, depth, held.input_scale, formats.input_max,
                formats.input_shift, PHASES=self._phases, BLOCK=_INPUTS, enable_fp_fusion=False,
            )  # fmt: skip
        self._feeds.later.ask([wrong], self._refuse_infinite)
        return fed

    def _refuse_infinite(self, wrong: Sequence[float]) -> None:
        if wrong[0]:
            matrix = self._held.formats.tiling.matrix.id
            raise CimsimError(f"an input of matrix {matrix} is not finite")

    def _room_for_codes(self, n: int, keep: Keep) -> Tensor:
        """Return room for what is kept of the codes of n tokens."""
        formats, device = self._held.formats, self._place.device
        if keep == "nothing":
            return self._place
        if keep == "sums":
            dtype = torch.float64 if self._exact else torch.float32
            of_groups = (formats.n_out, n, len(formats.groups))
            return torch.empty(of_groups, dtype=dtype, device=device)
        columns = formats.stored_columns * formats.n_out
        shape = (len(formats.groups), n, formats.planes, columns)
        return torch.empty(shape, dtype=torch.int32, device=device)

    def __call__(
        self,
        fed: Fed,
        tokens: Tokens,
        key: Key | Group,
        pool: NoisePool | None = None,
        driven: Tensor | None = None,
        clipped: Tensor | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        keep: Keep = "nothing",
    ) -> tuple[Tensor, Tensor]:
        """Return outputs [n, n_out], and what is kept of codes.

        That is every code, int32 [groups, n, planes, columns], or weighed sums of those of a row
        group, [n_out, n, groups] (float64 if exact): then outputs are of no use.

        Args:
            fed: the tokens, from `feed`.
            tokens: their addresses.
            key: of addressed normals, or of places in the pool; or the matrices that tokens have,
                if they are several. What is not theirs is that of this launch, and tokens of no
                block stay as they are.
            pool: normals of `fast`.
            driven: float32 [n, groups, planes], variance that columns share, if it is `by_row`.
            clipped: int64 [], to which conversions outside the range are added; or None. Of a
                group [matrices].
            dtype: of outputs; float32 if exact.
            keep: what is kept of codes.
        """
        held, formats, device = self._held, self._held.formats, fed.scale.device
        n, n_out, groups = fed.scale.numel(), formats.n_out, len(formats.groups)
        out = torch.empty((n, n_out), dtype=dtype, device=device)
        found = self._room_for_codes(n, keep)
        if n == 0:
            return out, found
        low, high = (float(b) for b in held.bounds)
        shared = self._variance if driven is None else driven * self._per_step
        counts = self._step if clipped is None else clipped
        group, table = isinstance(key, Group), self._table
        columns, signs, step, *tables = key if isinstance(key, Group) else self._alone
        programs = len(tables[0]) if group else triton.cdiv(n, self._block.tokens)
        fused_product[(programs * triton.cdiv(n_out, self._block.outputs),)](
            fed.bytes, self.cells, out, found, counts,
            fed.scale, fed.sums, tokens[0].contiguous(), tokens[1].contiguous(), shared, *columns,
            table, table if pool is None else pool.words, signs,
            signs if fed.units is None else fed.units, *tables, n, n_out, groups,
            *signed_words((0, 0) if isinstance(key, Group) else key),
            self.factors[0], low, high, 1.0 / (high - low), self.factors[1], step,
            BY_ROW=driven is not None, POOL_SHIFT=0 if pool is None else pool.shift,
            CODES=keep == "codes", SUMS=keep == "sums", COUNT=clipped is not None,
            SIGNED=fed.units is not None, GROUPED=group, **self._compiled,
        )  # fmt: skip
        return out, found

    @cached_property
    def _compiled(self) -> dict[str, int]:
        """What the kernel is compiled for, the same in every launch."""
        formats, block, rows = self._held.formats, self._block, padded_rows(self._held.formats)
        each = formats.planes // self._phases
        part = planes_of_round(each, 4 if self.noise in {ADDRESSED, POOL} else 8)
        return {
            "ROWS": rows, "CHUNK": min(rows, _CHUNK), "EACH": each, "PART": part,
            "PHASES": self._phases, "DAC": formats.dac_bits,
            "CUT": formats.feed not in _WHOLE_VALUES,
            "TWOS": formats.feed == FEED["twos_complement"], "STORED": formats.stored_columns,
            "DIGITS": self.cells.shape[0] // formats.stored_columns, "NOISE": self.noise,
            "SLOPED": self._held.noise.slope > 0.0, "ERRS": self.errs, "EXACT": self._exact,
            "WHOLE": self._whole, "NATIVE": block.native, "BM": block.tokens, "BN": block.outputs,
            "num_warps": block.warps, "num_stages": block.stages,
            "enable_fp_fusion": not self._exact,
        }  # fmt: skip


def _block_of(formats: Formats, noise: int) -> Block:
    """Return the cut of a launch that was fastest on an H200."""
    if noise == ADDRESSED:
        return Block(tokens=32)
    if noise == POOL:
        return Block(stages=1)
    if formats.planes * formats.stored_columns <= 2:  # as of a plain product
        return Block(tokens=128, outputs=128, warps=8)
    return Block()


def serves(held: Held, precision: Precision) -> bool:
    """Return whether the kernel computes a matrix, with noise at every conversion."""
    noise = ADDRESSED if precision == "exact" else POOL
    return not any(_refusals(held, noise if held.draws else NO_NOISE, native=True))


def _greatest_sum(held: Held) -> float:
    """Return the greatest magnitude that all codes of an output can add up to."""
    most = float(held.plane_weight.abs().sum() * held.column_weight.abs().sum())
    return most * max(held.bounds[1], -held.bounds[0]) * len(held.formats.groups)


def _errors(held: Held, order: Tensor | None) -> Tensor:
    """Return frozen errors of converters by row group, float32 [groups, 3, stored, n_out]."""
    if held.errors is None:
        return held.column_scale[:1]
    blocks = [group.row_block for group in held.formats.groups]
    weights = held.errors[..., : held.column_weight.numel() * held.formats.n_out]
    by_output = weights.reshape(*weights.shape[:2], -1, held.formats.n_out)
    if blocks != list(range(len(by_output))):
        by_output = by_output[constant(np.array(blocks), by_output.device)]
    return (by_output if order is None else by_output[..., order]).contiguous()


def _refusals(held: Held, noise: int, *, native: bool) -> Iterator[tuple[str, str, object]]:
    """Yield what the kernel does not do, the knob that asks for it and its value."""
    tile, formats = held.tile, held.formats
    if native and not held.values.is_cuda:
        yield "products on this device", "device", str(held.values.device)
    if formats.units and noise:
        yield "fresh noise of unit columns", "tile.weight.encoding", formats.encoding
    if formats.halved_inputs or formats.input_bits > 8:
        yield "inputs of one bit, or of more than 8", "tile.input.bits", formats.input_bits
    if formats.max_code > 127:
        yield "codes of more than 7 bits on a row", "tile.input.signed", tile.input.signed
    if held.gain is not None:
        yield (
            "drift compensation", "tile.device.drift_compensation",
            tile.device.drift_compensation,
        )  # fmt: skip
    if held.values.dtype == torch.float64:
        yield "column sums beyond 24 bits", "tile.device.cell_bits", formats.cell_bits
    if held.curve is not None:
        measured = tile.adc.kind == "measured"
        key, value = ("kind", tile.adc.kind) if measured else ("curve", tile.adc.curve)
        yield "transfer curves of converters", f"tile.adc.{key}", value
    if tile.adc.bits > 16:
        yield "converters of more than 16 bits", "tile.adc.bits", tile.adc.bits
    if noise and held.squares is not None:
        yield (
            "noise that needs a second product", "tile.device.read_noise.scaling",
            tile.device.read_noise.scaling,
        )  # fmt: skip
    if noise in {ADDRESSED, OUTPUT} and formats.n_out % 64:
        yield "addressed normals of outputs that are no multiple of 64", "n_out", formats.n_out
