"""The folded tile: slices and cycles summed into one effective matrix.

With W_eff[i, j] = sum over slices of 2^(c s) V[i, s, j], the frozen conductances of the
detailed tile, one product gives what a noiseless converter of infinite resolution would,
and every random error of the detailed form is drawn once per output:

    y_int = X W_eff + coefficient sum(X) + sqrt(variance) z
    variance = sum_k w_k^2 sum_s 4^(c s) (step^2 / 12 + converter noise + read noise)

summed over row groups. That holds only where rounding is an independent uniform error,
clipping is rare and every read is converted once: a matrix that clips more than one conversion in
a thousand, or whose mean square error on random tokens differs from the detailed one's by more
than a tenth, is not folded, nor is one whose conversions are skipped or repeated.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary import whole_log2
from cimsim.kernel_cache import cached
from cimsim.mac.adc import fresh_variance
from cimsim.mac.curves import is_straight
from cimsim.mac.detailed import DetailedMatrix
from cimsim.mac.feed import cycle_power
from cimsim.mac.inputs import Tokens
from cimsim.mac.quantize import quantized_inputs
from cimsim.rng import fill_normals

__all__ = ["FoldedMatrix"]

_CLIP_LIMIT = 1e-3
_ALL_GROUPS = 0xFFFF
_PROBES = 64
_ERROR_LIMIT = 0.1


class FoldedMatrix:
    """Effective matrix and error variance of a programmed matrix.

    It does not keep the matrix: a cycle of references would outlive the last use of both.

    Args:
        programmed: the matrix that is folded.
    """

    def __init__(self, programmed: DetailedMatrix) -> None:
        self._formats, self._columns = programmed.formats, programmed.columns
        self._scale = programmed.encoded.scale
        formats, cells, columns = programmed.formats, programmed.cells, programmed.columns
        weight = columns.weight
        n_out = formats.n_out
        effective = np.zeros((formats.n_in, n_out))
        rounding = np.zeros(n_out)
        self._constant = np.zeros(n_out)
        tile = programmed.tile
        lossless = cells.tables.ideal and programmed.step_levels == 1.0
        per_code = fresh_variance(tile) + (0.0 if lossless else 1.0 / 12.0)
        low, high = programmed.conversion.low, programmed.conversion.high
        planes2 = float(np.sum(formats.plane_weight**2))
        for g, group in enumerate(formats.groups):
            rows = slice(group.start, group.stop)
            values = cells.values[rows].astype(np.float64) * cells.grid
            if cells.converters is not None:
                values = values * cells.converters.gain[group.row_block]
                # Beyond the range lie the codes of shorted bit lines, which clip.
                offset = np.clip(cells.converters.offset[group.row_block], low, high)
                zero = offset * programmed.step_levels
                zero = zero * float(np.sum(formats.plane_weight))
            else:
                zero = np.zeros(formats.columns)
            gain = programmed.output_gain(group.row_block)
            stored = weight.size * n_out
            shares = (weight[:, None] * columns.sign(g) * gain).ravel()
            effective[rows] += (values[:, :stored] * shares).reshape(-1, weight.size, n_out).sum(1)
            self._constant += (zero[:stored] * shares).reshape(weight.size, n_out).sum(0)
            rounding += np.sum(weight**2) * gain**2
            if formats.units:
                coefficient = columns.unit_coefficient[g] * gain
                unit = stored + columns.block_of_output
                effective[rows] += values[:, unit] * coefficient
                self._constant += zero[unit] * coefficient
                rounding += coefficient**2
        self._variance = rounding * planes2 * per_code * programmed.step_levels**2
        self._values, self._grid = _exact_grid(effective, programmed)
        self._read = _read_variances(programmed)

    def faithful(self, programmed: DetailedMatrix) -> bool:
        """Return whether folding its matrix keeps the mean and variance of the outputs."""
        tile, adc_range = programmed.tile, programmed.adc_range
        if tile.adc.inl_lsb > 0.0 or not is_straight(tile.adc):
            return False
        searches = tile.adc.search != "binary"
        if self._formats.recoveries or self._formats.skip_zeros or searches:
            return False  # what is converted depends on the data, and is to be counted
        rate = 0.0 if tile.adc.range.kind == "full" else adc_range.clip_rate
        if rate is None or rate > _CLIP_LIMIT:
            return False
        exact = programmed.cells.tables.ideal and programmed.step_levels == 1.0
        quiet = exact and not programmed.conversion.has_fresh_noise
        return quiet or _errs_alike(programmed, self)

    def multiply(self, tokens: Tokens, out: NDArray[np.float32]) -> None:
        """Fill `out` [n, n_out] with the folded product of the tokens."""
        formats, columns, q = self._formats, self._columns, tokens.q
        fed = (q + formats.input_shift).astype(np.float64)
        sums = fed @ self._values
        variance = np.zeros((0, 0))
        if self._read is not None:
            power = cycle_power(q, formats) * float(formats.input_step**2)
            variance = power @ self._read
        _finish_folded(
            out, sums, self._grid, fed.sum(axis=1), columns.coefficient, columns.shift_share,
            self._constant, self._variance, variance, tokens.scale, self._scale,
            tokens.sequence, tokens.position, _ALL_GROUPS, *tokens.key,
        )  # fmt: skip


def _read_variances(m: DetailedMatrix) -> NDArray[np.float64] | None:
    """Return the read variance of every weight's cells in levels^2, None without read noise."""
    formats, cells, weight = m.formats, m.cells, m.columns.weight
    variance = cells.variance
    if variance == 0.0:
        return None
    stored = weight.size * formats.n_out
    shape = (formats.n_in, weight.size, formats.n_out)
    scaling = m.tile.device.read_noise.scaling
    if cells.squares is not None:
        squares = cells.squares.astype(np.float64) * cells.square_grid
    elif scaling == "constant":
        pair = 2.0 if formats.analog_difference else 1.0
        squares = np.full((formats.n_in, formats.columns), variance * pair)
    else:
        values = cells.values.astype(np.float64) * cells.grid
        conductance = np.maximum(values + cells.tables.base, 0.0)
        squares = conductance * (variance / cells.tables.to_levels)
    table = (squares[:, :stored].reshape(shape) * (weight**2)[:, None]).sum(1)
    for g, group in enumerate(formats.groups):
        rows = slice(group.start, group.stop)
        if formats.units:
            unit = stored + m.columns.block_of_output
            table[rows] += squares[rows][:, unit] * m.columns.unit_coefficient[g] ** 2
        table[rows] *= m.output_gain(group.row_block) ** 2
    return _significant(table)


def _errs_alike(programmed: DetailedMatrix, folded: FoldedMatrix) -> bool:
    """Compare the error of both forms on random tokens at a fixed address.

    Where sums sit on whole codes, rounding removes small errors of cells; where they round
    to zero, it removes the sums; where columns share a reference, their rounding errors
    cancel. The folded form knows nothing of these, so its mean square error gives them away.
    """
    formats = programmed.formats
    z = np.empty((_PROBES, -(-formats.n_in // 64) * 64), dtype=np.float32)
    bits = np.empty(z.shape[1], dtype=np.uint32)
    for i in range(_PROBES):
        fill_normals(z[i], bits, 0, i, 0, 0, 0, _PROBES)
    x = np.ascontiguousarray(z[:, : formats.n_in])
    scale = 3.0 / formats.input_max
    q, _ = quantized_inputs(x, formats.input_bits, scale, formats.tiling.matrix.id)
    clean = (q.astype(np.float64) @ programmed.encoded.wq) * programmed.encoded.scale
    place = np.arange(_PROBES, dtype=np.int64)
    tokens = Tokens(q, np.ones(_PROBES, dtype=np.float32), place, place, (0, _PROBES))
    errors = []
    for multiply in (programmed.multiply_detailed, folded.multiply):
        out = np.empty(clean.shape, dtype=np.float32)
        multiply(tokens, out)
        errors.append(float(np.mean((out - clean) ** 2)))
    detailed, found = errors
    limit = _ERROR_LIMIT + 3.0 / np.sqrt(clean.size)
    return bool(abs(found - detailed) <= limit * detailed)


def _exact_grid(
    effective: NDArray[np.float64], programmed: DetailedMatrix
) -> tuple[NDArray[np.float64], float]:
    """Round to the finest grid on which every sum is exact in float64."""
    formats = programmed.formats
    code = formats.input_max + abs(formats.input_shift)
    bound = float(np.abs(effective).sum(axis=0).max()) * code
    room = 2.0**52 - 0.5 * formats.n_in * code
    bits = 0 if bound == 0.0 else whole_log2(room / bound)
    return np.rint(effective * 2.0**bits), 2.0**-bits


def _significant(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep 20 bits below the greatest entry, so that sums of whole powers are exact."""
    greatest = float(table.max())
    if greatest <= 0.0:
        return table
    unit = 2.0 ** (whole_log2(greatest) - 20)
    return np.rint(table / unit) * unit


@cached
@njit(error_model="numpy")
def _finish_folded(  # type: ignore[no-untyped-def]
    out,
    sums,
    grid,
    fed,
    coefficient,
    shift_share,
    constant,
    variance,
    read,
    token_scale,
    column_scale,
    sequence,
    position,
    group,
    k0,
    k1,
):
    """Add digital shares, draw the error of every output, apply the scales."""
    n, n_out = out.shape
    padded = ((n_out + 63) // 64) * 64
    z = np.zeros(padded, np.float32)
    bits = np.empty(padded, np.uint32)
    noisy = read.size > 0
    for j in range(n_out):
        noisy = noisy or variance[j] > 0.0
    for t in range(n):
        if noisy:
            fill_normals(z, bits, 0, group * 64, position[t], sequence[t], k0, k1)
        for j in range(n_out):
            y = sums[t, j] * grid + coefficient[j] * fed[t] - shift_share[j]
            y += constant[j]
            if noisy:
                total = variance[j]
                if read.size > 0:
                    total += read[t, j]
                y += np.sqrt(total) * np.float64(z[j])
            out[t, j] = np.float32(y * (np.float64(token_scale[t]) * np.float64(column_scale[j])))
