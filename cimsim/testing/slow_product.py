"""The slow twin: a product in plain NumPy, equation by equation, as the oracle of the fast path.

It shares with the fast path what both must share to agree in every bit: the addresses of
random numbers, the tables of the cells, and the order of floating operations after a sum.
Sums are whole numbers here (int64); nothing is fused, blocked or compiled. The twin of writing
is `cimsim.testing.slow_writing`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.curves import curve_of
from cimsim.mac.formats import RowGroup
from cimsim.mac.inputs import static_scale
from cimsim.mac.matrix import ProgrammedMatrix
from cimsim.mac.writing import matrix_words
from cimsim.rng import derive_key, normals_at
from cimsim.workload.matrix import TokenKeys

__all__ = ["codes", "multiply", "planes_of", "quantize"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Reals = NDArray[np.floating]

_PURPOSE_READ = 3


def quantize(x: NDArray[np.float32], tile: Tile, static: float) -> tuple[Ints, Floats]:
    """Return X = clip(rint(x / scale)) and the scale of each token; of one bit +-1 and mean|x|."""
    if tile.input.bits == 1:
        sums = np.cumsum(np.abs(x).astype(np.float64), axis=1)[:, -1]  # one term after another
        mean = (sums / x.shape[1]).astype(np.float32)
        mean[mean < np.finfo(np.float32).tiny] = 0.0
        if static > 0.0:
            mean[:] = np.float32(static)
        return np.where(x >= 0.0, 1, -1), mean.astype(np.float64)
    top = (1 << (tile.input.bits - 1)) - 1
    greatest = np.abs(x).max(axis=1, initial=0.0).astype(np.float32)
    scale = (greatest / np.float32(top)).astype(np.float32)
    scale[scale < np.finfo(np.float32).tiny] = 1.0
    if static > 0.0:
        scale[:] = np.float32(static)
    q = np.clip(np.rint(x / scale[:, None]), -top, top)
    return q.astype(np.int64), scale.astype(np.float64)


def planes_of(q: Ints, tile: Tile) -> tuple[Ints, Floats]:
    """Return DAC codes [planes, n, n_in] and what each plane counts."""
    bits, step, signed = tile.input.bits, tile.dac.bits, tile.input.signed
    if bits == 1:
        return _planes_of_signs(q, tile)
    shift = 1 << (bits - 1) if signed == "shift" else 0
    if tile.pe.accumulate_cycles:
        return (q + shift)[None], np.ones(1)
    mask = (1 << step) - 1
    if signed == "two_phase":
        count = -(-(bits - 1) // step)
        places = step * np.arange(count)
        cut: list[Ints] = [np.where(q > 0, q, 0) >> p & mask for p in places]
        cut += [np.where(q < 0, -q, 0) >> p & mask for p in places]
        weights = np.ldexp(1.0, places)
        return np.array(cut), np.concatenate([weights, -weights])
    places = step * np.arange(-(-bits // step))
    weights = np.ldexp(1.0, places)
    if signed == "twos_complement":
        weights[-1] = -weights[-1]
    return np.array([(q + shift) >> p & mask for p in places]), weights


def _planes_of_signs(q: Ints, tile: Tile) -> tuple[Ints, Floats]:
    """Return DAC codes of X = +-1 and what each plane counts."""
    positive, negative = (q > 0).astype(np.int64), (q < 0).astype(np.int64)
    if tile.input.signed == "shift":
        return positive[None], np.full(1, 2.0)
    if tile.input.signed == "twos_complement":
        sign = -1 if tile.pe.accumulate_cycles else 1  # charge of that sign
        return sign * negative[None], np.full(1, -2.0 * sign)
    if tile.pe.accumulate_cycles:
        return (positive - negative)[None], np.ones(1)
    return np.array([positive, negative]), np.array([1.0, -1.0])


def codes(
    programmed: ProgrammedMatrix,
    x: NDArray[np.float32],
    keys: TokenKeys,
    *,
    read_seed: int,
    replica: int = 0,
) -> Ints:
    """Return ADC codes [row groups, n, planes, columns] of a programmed matrix.

    Of a column that is converted again, what the codes of its recovery cycles add up to. The grid
    of conductances is the programmed one, in whole numbers.
    """
    tile, formats = programmed.tile, programmed.formats
    q, _ = quantize(x, tile, static_scale(tile, programmed.adc_range))
    planes, _ = planes_of(q, tile)  # [planes, n, n_in]
    power = _power_of(q, planes, tile)
    key = derive_key(read_seed, _PURPOSE_READ, *matrix_words(programmed.matrix), replica)
    low, high = programmed.conversion.low, programmed.conversion.high
    count, again = planes.shape[0], tile.dac.recovery_bits
    found = np.zeros((len(formats.groups), x.shape[0], count, formats.columns), np.int64)
    for g, group in enumerate(formats.groups):
        later = g * 64 + count
        for k in range(count):
            v = _seen(programmed, g, planes[k], power[k], (g * 64 + k, keys, key))
            code = np.clip(np.rint(v), low, high)
            if again is not None:
                failed = (code == high) | ((code == low) & (low < 0))
                width = min(tile.dac.bits, tile.input.fed_bits - tile.dac.bits * _place(k, tile))
                recovered = np.zeros(code.shape)
                for place in range(0, width, again):
                    narrow = planes[k] >> place & ((1 << again) - 1)
                    squares = narrow.astype(np.float64) ** 2
                    v = _seen(programmed, g, narrow, squares, (later, keys, key))
                    codes_again = np.clip(np.rint(v), low, high)
                    codes_again[_idle(narrow, group, tile)] = 0
                    recovered += codes_again * 2.0**place
                    later += 1
                code = np.where(failed, recovered, code)
            code[_idle(planes[k], group, tile)] = 0
            found[g, :, k] = code.astype(np.int64)
    return found


def _place(k: int, tile: Tile) -> int:
    """Return which cycle of its sign a plane is."""
    return k % -(-tile.input.fed_bits // tile.dac.bits)


def _idle(codes_fed: Ints, group: RowGroup, tile: Tile) -> NDArray[np.bool_]:
    """Return which tokens drive no row of a group, where those are skipped."""
    none = ~(codes_fed[:, group.start : group.stop] != 0).any(axis=1)
    return np.asarray(none & tile.input.skip_zeros)


def _seen(
    programmed: ProgrammedMatrix,
    g: int,
    fed: Ints,
    power: Floats,
    address: tuple[int, TokenKeys, tuple[int, int]],
) -> Reals:
    """Return what the converters of a row group see, in codes before rounding, [n, columns].

    Args:
        programmed: the matrix.
        g: row group.
        fed: DAC codes, [n, n_in].
        power: squared weighed codes, [n, n_in].
        address: of the noise: group and plane, tokens, key.
    """
    tile, formats, cells = programmed.tile, programmed.formats, programmed.cells
    conversion, noise, group = programmed.conversion, programmed.conversion.noise, formats.groups[g]
    f = np.float64 if cells.values.dtype == np.float64 else np.float32
    low, high = f(conversion.low), f(conversion.high)
    span = f(1.0) / (high - low)
    rows = slice(group.start, group.stop)
    values: Ints = cells.values[rows].astype(np.int64)
    sums: Reals = (fed[:, rows] @ values).astype(f)  # exact: below 2^24 or 2^53
    v = sums * f(cells.grid / programmed.step_levels)
    v = _bent(v, low, high, curve_of(tile.adc))
    if cells.converters is not None:
        frozen: Floats = np.asarray(cells.converters.of(group.row_block), np.float64)
        gain, offset, bow = (f(1.0) * frozen[e].astype(sums.dtype) for e in range(3))
        u = (v - low) * span
        v = (v * gain + offset) + bow * (u * (f(1.0) - u))
    if conversion.has_fresh_noise:
        driven = power[:, rows].sum(axis=1)
        shared = driven * noise.row_variance + noise.adc_variance
        shared = shared.astype(np.float32).astype(f)
        variance = sums * f(noise.slope)
        if cells.squares is not None:
            second: Reals = (power[:, rows] @ cells.squares[rows].astype(np.float64)).astype(f)
            variance = second * f(noise.square_scale) + variance
        variance = np.maximum(variance + shared[:, None], f(0.0))
        plane, keys, key = address
        z = np.stack(
            [
                normals_at(formats.columns, (plane, int(p), int(s)), key)
                for s, p in zip(keys.sequence, keys.position, strict=True)
            ]
        )
        v = v + np.sqrt(variance) * z.astype(f)
    return np.asarray(v)


def _bent(v: Reals, low: np.floating, high: np.floating, curve: NDArray[np.float32]) -> Reals:
    """Return codes after the deviation of the transfer curve, linear between its points."""
    if not curve.size:
        return v
    f = v.dtype.type
    place = (np.minimum(np.maximum(v, low), high) - low) * (f(1.0) / (high - low))
    place = place * f(curve.size - 1)
    i = np.minimum(place.astype(np.int64), curve.size - 2)
    first, second = curve[i].astype(f), curve[i + 1].astype(f)
    return np.asarray(v + (first + (second - first) * (place - i.astype(f))))


def _power_of(q: Ints, planes: Ints, tile: Tile) -> Floats:
    """Return squared codes, or sums of squared weighed codes where charge accumulates."""
    if not tile.pe.accumulate_cycles or tile.input.bits == 1:
        return planes.astype(np.float64) ** 2
    apart = tile.model_copy(update={"pe": tile.pe.model_copy(update={"accumulate_cycles": False})})
    cycles, weights = planes_of(q, apart)
    weighed = cycles * weights[:, None, None]
    return np.asarray((weighed**2).sum(axis=0)[None])


def multiply(
    programmed: ProgrammedMatrix,
    x: NDArray[np.float32],
    keys: TokenKeys,
    *,
    read_seed: int,
    replica: int = 0,
) -> NDArray[np.float32]:
    """Return the noisy product: codes, shifted and added, then digital offsets and scales."""
    tile, formats, encoded = programmed.tile, programmed.formats, programmed.encoded
    q, scale = quantize(x, tile, static_scale(tile, programmed.adc_range))
    _, plane_weight = planes_of(q, tile)
    found = codes(programmed, x, keys, read_seed=read_seed, replica=replica)
    stored, n_out, step = formats.stored_columns, formats.n_out, programmed.step_levels
    weight = formats.column_weight()
    total = np.zeros((x.shape[0], n_out))
    extra = np.zeros((x.shape[0], n_out))
    for g, group in enumerate(formats.groups):
        part = found[g][:, :, : stored * n_out].reshape(x.shape[0], -1, stored, n_out)
        weighed = part * plane_weight[None, :, None, None] * weight[None, None, :, None]
        gain = programmed.output_gain(group.row_block)
        total += (weighed * programmed.columns.sign(g)).sum(axis=(1, 2)) * gain
        if formats.units:
            unit = (found[g][:, :, stored * n_out :] * plane_weight[None, :, None]).sum(axis=1)
            unit = unit[:, programmed.columns.block_of_output] * gain
            extra += (unit * step) * programmed.columns.unit_coefficient[g]
    shift = formats.input_shift
    fed = (q + shift).sum(axis=1).astype(np.float64)
    digital = np.zeros(n_out) if formats.units else -encoded.offset.astype(np.float64)
    share = shift * encoded.wq.sum(axis=0, dtype=np.int64).astype(np.float64)
    y = total * step + digital * fed[:, None] - share
    if formats.units:
        y = y + extra
    return np.asarray(y * (scale[:, None] * encoded.scale.astype(np.float64)), dtype=np.float32)
