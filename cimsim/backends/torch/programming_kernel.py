"""Writing of cells in Triton: weights become integers, levels, noisy cells, bytes.

The address of a cell's error is that of `cimsim.mac.writing`: counter (cell, row, draw), where
neighbouring cells of a row share a Philox call as columns do in `cimsim.rng`. One program writes
some lanes of counters x some rows, four cells a call.
"""

from __future__ import annotations

import triton
import triton.language as tl

from cimsim.backends.torch.normals_kernel import normal_of, philox

__all__ = [
    "fold_weights",
    "slice_weights",
    "two_normals",
    "write_cells",
]

_MAGIC: tl.constexpr = tl.constexpr(12582912.0)  # 1.5 x 2^23: adding it rounds to whole numbers


@triton.jit
def _native(x, NAME: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return an elementary function to some 2^-21, in one instruction of the device."""
    return tl.inline_asm_elementwise(NAME, "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
def two_normals(a, b, NATIVE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return two normals of two uint32 words (Box and Muller, 1958), tails to 6.6 sigma."""
    u = ((a >> 1).to(tl.int32, bitcast=True).to(tl.float32) + 0.5) * 4.656612873077393e-10
    angle = (b >> 1).to(tl.int32, bitcast=True).to(tl.float32) * 2.925836158534319e-09
    if NATIVE:
        # ln u = ln 2 x log2 u
        r = _native(_native(u, "lg2.approx.ftz.f32 $0, $1;") * -1.3862943611198906,
                    "sqrt.approx.ftz.f32 $0, $1;")  # fmt: skip
        return (
            r * _native(angle, "cos.approx.ftz.f32 $0, $1;"),
            r * _native(angle, "sin.approx.ftz.f32 $0, $1;"),
        )
    r = tl.sqrt(tl.log(u) * -2.0)
    return r * tl.cos(angle), r * tl.sin(angle)


@triton.jit
def _held(level, z, tables, EXACT: tl.constexpr, BIAS: tl.constexpr, UNIFORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return what a cell holds, in levels above the lowest: max(0, target + error).

    Args:
        level: int32.
        z: float32 normals.
        tables: target, bias and sigma of levels over g_max, then levels a g_max and the lowest
            level's conductance in levels, float64; if not EXACT, bias and sigma in levels, float32.
        EXACT: in the order of the Numba tile; else a target is its level.
        BIAS: whether writes have a mean error.
        UNIFORM: whether sigma is that of every level.
    """
    target, bias, sigma, levels = tables
    each = tl.load(sigma) if UNIFORM else tl.load(sigma + level)
    error = each * (z.to(tl.float64) if EXACT else z)
    if BIAS:
        error = tl.load(bias + level) + error
    if EXACT:
        g = tl.maximum(tl.load(target + level) + error, 0.0)
        held = g * tl.load(levels) - tl.load(levels + 1)
    else:
        held = tl.maximum(level.to(tl.float32) + error, -tl.load(levels + 1))
    return held


@triton.jit
def _value(  # type: ignore[no-untyped-def]
    weight, offset, turned, plus, minus, tables, whole, SLICE: tl.constexpr, SIDES: tl.constexpr,
    CELL_BITS: tl.constexpr, WHOLE: tl.constexpr, EXACT: tl.constexpr, BIAS: tl.constexpr,
    UNIFORM: tl.constexpr,
):  # fmt: skip
    """Return what the cells of one slice hold in levels: positive, negative.

    Args:
        weight: int32, W_q.
        offset: int32, added before slicing.
        turned: int32, the highest level where a column is stored as its complement, else 0.
        plus: normals of the positive or only cell.
        minus: normals of the negative cell.
        tables: as `_held` takes them.
        whole: sigma of a whole weight by |W_q| and its mean error by W_q, in levels.
        SLICE: which slice.
        SIDES: 2 for pairs.
        CELL_BITS: of a slice.
        WHOLE: greatest |W_q| if whole weights err, else 0.
        EXACT: as in `_held`, and the next two.
        BIAS: see EXACT.
        UNIFORM: see EXACT.
    """
    mask: tl.constexpr = (1 << CELL_BITS) - 1
    cut: tl.constexpr = CELL_BITS * SLICE
    up = weight + offset
    if SIDES == 2:
        up = tl.maximum(weight, 0)
    held = _held(((up >> cut) & mask) ^ turned, plus, tables, EXACT, BIAS, UNIFORM)
    less = held * 0.0
    if SIDES == 2:
        down = (tl.maximum(-weight, 0) >> cut) & mask
        less = _held(down, minus, tables, EXACT, BIAS, UNIFORM)
    if WHOLE > 0:
        z = plus.to(tl.float64) if EXACT else plus
        error = tl.load(whole[0] + tl.abs(weight)) * z + tl.load(whole[1] + weight + WHOLE)
        if SIDES == 2:
            less = tl.where(weight < 0, less - error, less)
            held = tl.where(weight < 0, held, held + error)
        else:
            held += error
    return held, less


@triton.jit
def _store(out, level, fine, stride, inside, DIGITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store levels in whole grid units: one byte, or two digits `stride` apart; 0 digits as is."""
    if DIGITS == 0:
        tl.store(out, level, mask=inside)
    elif DIGITS == 1:
        units = tl.minimum(tl.maximum(level * fine, -127.0), 127.0)
        # The last byte of the sum is that of the whole number.
        tl.store(out, (units + _MAGIC).to(tl.int32, bitcast=True).to(tl.int8), mask=inside)
    else:
        units = (level * fine + _MAGIC).to(tl.int32, bitcast=True) - 0x4B400000
        tl.store(out, units.to(tl.int8), mask=inside)
        tl.store(out + stride, ((units + 128) >> 8).to(tl.int8), mask=inside)


# Long: one kernel, whose values stay in registers from the first load to the last store.
@triton.jit
def write_cells(  # type: ignore[no-untyped-def]  # noqa: PLR0915
    q, offset, place, flip, out, greatest,
    target, bias, sigma, levels, whole_sigma, whole_shift, table,
    keys, n_size, k_size, depth, fine, floor,
    SLICES: tl.constexpr, CELL_BITS: tl.constexpr, SIDES: tl.constexpr, APART: tl.constexpr,
    DIGITS: tl.constexpr, WHOLE: tl.constexpr, BIAS: tl.constexpr, UNIFORM: tl.constexpr,
    ROOM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write cells of some matrices with the bits of the Numba tile, in grid units or in levels.

    The cells of a weight are 1, 2, 4, 8 or 16 neighbours of a chunk of 64, so that one lane's four
    words are the same cell of four weights.

    Args:
        q: int8 [matrices, n_size, k_size], W_q.
        offset: int32 [matrices, n_size], added before slicing (0 of pairs).
        place: int32 [k_size], where a row stands among the padded groups.
        flip: int8 [matrices, groups, SLICES, n_size], columns that are stored as complements.
        out: int8 [matrices, stored columns x DIGITS, n_size, depth], filled where a row stands;
            float32 levels [matrices, stored columns, n_size, depth] if DIGITS is 0.
        greatest: int32 [1], raised to the bits of the greatest magnitude in levels (float32) if
            that is above `floor`.
        target: [levels] over g_max; all tables are float64.
        bias: [levels].
        sigma: [levels].
        levels: [2], levels a g_max, and the lowest level's conductance in levels.
        whole_sigma: [top + 1] sigma of a whole weight by |W_q|, in levels.
        whole_shift: [2 top + 1] its mean error by W_q.
        table: int64 [2049] of normals.
        keys: int32 [matrices, 2] of writes.
        n_size: outputs.
        k_size: inputs.
        depth: rows of all padded groups.
        fine: grid units a level, float32.
        floor: magnitude in levels below which none is of interest.
        SLICES: cells of a weight, one of a pair counted.
        CELL_BITS: of a slice.
        SIDES: 2 for pairs.
        APART: sides of a pair are columns of their own.
        DIGITS: bytes of a cell, lowest first.
        WHOLE: greatest |W_q| if whole weights err, else 0.
        BIAS: writes have a mean error.
        UNIFORM: sigma is that of every level.
        ROOM: padded rows of a group where columns may be complements, else 0.
        BK: rows of a program.
    """
    CELLS: tl.constexpr = SLICES * SIDES
    LANES: tl.constexpr = 16 // CELLS  # weights of a counter word in each chunk
    ROOMS: tl.constexpr = 2 if DIGITS == 2 else 1
    chunk, lane = tl.program_id(0) // LANES, tl.program_id(0) % LANES
    # One row a thread: bytes would be moved by fours, and normals between threads for that.
    row = tl.max_contiguous(tl.program_id(1) * BK + tl.arange(0, BK), 1)
    in_k = row < k_size
    to = tl.load(place + row, mask=in_k, other=0)
    matrix = tl.program_id(2).to(tl.int64)
    k0 = tl.load(keys + 2 * matrix).to(tl.uint32, bitcast=True)
    k1 = tl.load(keys + 2 * matrix + 1).to(tl.uint32, bitcast=True)
    zero = tl.zeros([BK], tl.uint32)
    r = row.to(tl.uint32, bitcast=True)
    tables, whole = (target, bias, sigma, levels), (whole_sigma, whole_shift)
    first = chunk * (64 // CELLS) + lane
    plane = tl.cast(n_size, tl.int64) * depth
    q += matrix * n_size * k_size
    offset += matrix * n_size
    if ROOM > 0:
        flip += (matrix * (depth // ROOM) + to // ROOM) * (SLICES * n_size)
    out += matrix * (SLICES * (2 if APART else 1) * ROOMS) * plane
    most = tl.zeros([BK], tl.float32)
    for s in tl.static_range(SLICES):
        c = zero + tl.cast(chunk * 16 + CELLS * lane + SIDES * s, tl.uint32)
        words = philox(c, r, zero, zero, k0, k1)
        others = words
        if SIDES == 2 and WHOLE == 0:
            others = philox(c + 1, r, zero, zero, k0, k1)
        for word in tl.static_range(4):
            n = first + LANES * word
            inside = in_k & (n < n_size)
            wide = n.to(tl.int64)
            weight = tl.load(q + wide * k_size + row, mask=inside, other=0).to(tl.int32)
            added = tl.load(offset + n, mask=n < n_size, other=0)
            turned = weight * 0
            if ROOM > 0:
                other = tl.load(flip + s * n_size + n, mask=inside, other=0).to(tl.int32)
                turned = other * ((1 << CELL_BITS) - 1)
            plus = normal_of(words[word], table)
            minus = plus
            if SIDES == 2 and WHOLE == 0:
                minus = normal_of(others[word], table)
            held, less = _value(
                weight, added, turned, plus, minus, tables, whole, s, SIDES, CELL_BITS, WHOLE, True,  # noqa: FBT003
                BIAS, UNIFORM,
            )  # fmt: skip
            here = out + wide * depth + to
            if APART:
                up, down = held.to(tl.float32), less.to(tl.float32)
                biggest = tl.maximum(tl.abs(up), tl.abs(down))
                _store(here + 2 * s * ROOMS * plane, up, fine, plane, inside, DIGITS)
                _store(here + (2 * s + 1) * ROOMS * plane, down, fine, plane, inside, DIGITS)
            else:
                level = (held - less).to(tl.float32)
                biggest = tl.abs(level)
                _store(here + s * ROOMS * plane, level, fine, plane, inside, DIGITS)
            most = tl.maximum(most, tl.where(inside, biggest, 0.0))
    found = tl.max(most)
    if found > floor:
        tl.atomic_max(greatest, found.to(tl.int32, bitcast=True))


# Long: one kernel, whose values stay in registers from the first load to the last store.
@triton.jit(do_not_specialize=["k0", "k1"])
def slice_weights(  # type: ignore[no-untyped-def]
    w, scale, offset, place, out,
    target, bias, sigma, levels, whole_sigma, whole_shift,
    n_size, k_size, depth, k0, k1, fine, top,
    SLICES: tl.constexpr, CELL_BITS: tl.constexpr, SIDES: tl.constexpr, APART: tl.constexpr,
    WHOLE: tl.constexpr, BIAS: tl.constexpr, UNIFORM: tl.constexpr, FILLS: tl.constexpr,
    NATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write cells of the same law as one byte each; one block of an output's weights a program.

    Args:
        w: [n_size, k_size], any float.
        scale: float32 [n_size].
        offset: int32 [n_size], added before slicing (0 of pairs).
        place: int32 [k_size], where a row stands among the padded groups.
        out: int8 [stored columns, n_size, depth], filled where a row stands.
        target: as in `write_cells`, and the next five, in float32.
        bias: see `target`.
        sigma: see `target`.
        levels: see `target`.
        whole_sigma: see `target`.
        whole_shift: see `target`.
        n_size: outputs.
        k_size: inputs.
        depth: rows of all padded groups.
        k0: first word of the key.
        k1: second word.
        fine: grid units a level.
        top: greatest W_q.
        SLICES: as in `write_cells`, and the next six.
        CELL_BITS: see SLICES.
        SIDES: see SLICES.
        APART: see SLICES.
        WHOLE: see SLICES.
        BIAS: see SLICES.
        UNIFORM: see SLICES.
        FILLS: rows stand where they are counted.
        NATIVE: with instructions of the device.
        BLOCK: weights of a program.
    """
    n = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row < k_size
    to = row
    if not FILLS:
        to = tl.load(place + row, mask=inside, other=0)
    k0, k1 = k0.to(tl.uint32, bitcast=True), k1.to(tl.uint32, bitcast=True)
    v = tl.load(w + n * k_size + row, mask=inside, other=0.0).to(tl.float32)
    v *= 1.0 / tl.load(scale + n)
    most = tl.cast(top, tl.float32)
    v = tl.minimum(tl.maximum((v + _MAGIC) - _MAGIC, -most), most)
    weight, added = v.to(tl.int32), tl.load(offset + n)
    zero = tl.zeros([BLOCK], tl.uint32)
    r, c = row.to(tl.uint32, bitcast=True), zero + tl.program_id(1).to(tl.uint32)
    tables, whole = (target, bias, sigma, levels), (whole_sigma, whole_shift)
    plane = tl.cast(n_size, tl.int64) * depth
    here = out + n * depth + to
    COUNT: tl.constexpr = 1 if WHOLE > 0 else SLICES * SIDES
    for call in tl.static_range((COUNT + 3) // 4):
        a, b, d, e = philox(r, c, zero + call, zero, k0, k1, 7)
        z0, z1 = two_normals(a, b, NATIVE)
        z2, z3 = two_normals(d, e, NATIVE)
        z = (z0, z1, z2, z3)
        for j in tl.static_range(0, 4, SIDES):
            if (4 * call + j) // SIDES < SLICES:
                s = (4 * call + j) // SIDES
                held, less = _value(
                    weight, added, weight * 0, z[j], z[j + SIDES - 1], tables, whole,
                    (4 * call + j) // SIDES, SIDES, CELL_BITS, WHOLE, False, BIAS, UNIFORM,  # noqa: FBT003
                )  # fmt: skip
                if APART:
                    _store(here + 2 * s * plane, held, fine, plane, inside, 1)
                    _store(here + (2 * s + 1) * plane, less, fine, plane, inside, 1)
                else:
                    _store(here + s * plane, held - less, fine, plane, inside, 1)


@triton.jit(do_not_specialize=["k0", "k1"])
def fold_weights(  # type: ignore[no-untyped-def]
    w, scale, sigma, mean, out, k_size, k0, k1, top,
    UNIFORM: tl.constexpr, NATIVE: tl.constexpr, QUARTER: tl.constexpr,
):  # fmt: skip
    """Fill effective weights: (W_q + mean error + sigma z) scale, a normal a weight.

    Args:
        w: [n_size, k_size], any float.
        scale: float32 [n_size], weight of one LSB.
        sigma: float32 [top + 1], by |W_q|, in LSB.
        mean: float32 [2 top + 1], by W_q, in LSB; unused if UNIFORM.
        out: like `w`, filled.
        k_size: inputs of an output.
        k0: first word of the key.
        k1: second word.
        top: greatest W_q.
        UNIFORM: every weight has one sigma and no mean error.
        NATIVE: with instructions of the device.
        QUARTER: counters of a program; their four words go to one quarter each of its weights.
    """
    n = tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, QUARTER)
    k0, k1 = k0.to(tl.uint32, bitcast=True), k1.to(tl.uint32, bitcast=True)
    c = (tl.program_id(0) * QUARTER + lane).to(tl.uint32, bitcast=True)
    zero = tl.zeros([QUARTER], tl.uint32)
    a, b, d, e = philox(c, zero + tl.program_id(1).to(tl.uint32), zero, zero, k0, k1, 7)
    z0, z1 = two_normals(a, b, NATIVE)
    z2, z3 = two_normals(d, e, NATIVE)
    z = (z0, z1, z2, z3)
    most = tl.cast(top, tl.float32)
    step = tl.load(scale + n)
    finer = 1.0 / step
    for word in tl.static_range(4):
        row = tl.program_id(0) * (4 * QUARTER) + word * QUARTER + lane
        inside = row < k_size
        v = tl.load(w + n * k_size + row, mask=inside, other=0.0).to(tl.float32) * finer
        v = tl.minimum(tl.maximum((v + _MAGIC) - _MAGIC, -most), most)
        if UNIFORM:
            v += tl.load(sigma) * z[word]
        else:
            code = v.to(tl.int32)
            v += tl.load(mean + code + top) + tl.load(sigma + tl.abs(code)) * z[word]
        tl.store(out + n * k_size + row, (v * step).to(out.dtype.element_ty), mask=inside)
