"""The fused product in Triton: all slices, cycles and row groups of a tile of outputs at once.

A program computes BM tokens x BN outputs. For each row group it holds the bytes of inputs and of
cells, cuts the bits of one plane out of the inputs' bytes, multiplies bytes on the tensor cores to
whole column sums, and converts them where they are, in registers: nothing but the outputs is
written. The plain twin is `cimsim.backends.torch.plain`.

``exact`` is compiled without contraction. Codes are added as whole numbers, so that tiles and
order don't matter. A float32 is rounded to a whole number, half to even, by adding and taking away
1.5 x 2^23, whose unit in the last place is 1; sums beyond 2^22 codes are clipped in any case.
"""

from __future__ import annotations

import triton
import triton.language as tl

from cimsim.backends.torch.normals_kernel import addressed, philox

__all__ = ["fused_product"]

_MAGIC: tl.constexpr = tl.constexpr(12582912.0)


@triton.jit
def _cut(x, shift, mask, NATIVE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return one plane's codes of bytes, int8; where NATIVE four bytes at once.

    Args:
        x: int8.
        shift: of the plane in a byte, int32.
        mask: of its codes, int32, the same in each of four bytes.
        NATIVE: with instructions of the device.
    """
    if NATIVE:
        return tl.inline_asm_elementwise(
            "{ .reg .b32 t; shr.b32 t, $1, $2; and.b32 $0, t, $6; }", "=r,r,r,r,r,r,r,r,r,r",
            [x, shift, mask], tl.int8, is_pure=True, pack=4,
        )  # fmt: skip
    return ((x.to(tl.int32) >> shift) & (mask & 255)).to(tl.int8)


@triton.jit
def _sums(a, w, DIGITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return column sums int32 of codes [m, k] with cells, digits from the highest."""
    if DIGITS == 1:
        return tl.dot(a, w[0], out_dtype=tl.int32)
    high = tl.dot(a, w[1], out_dtype=tl.int32)
    return tl.dot(a, w[0], high << 8, out_dtype=tl.int32)


@triton.jit
def _run(pool, token, i, rn, POOL_SHIFT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the words of the pool that tokens read in round `i` of the loop, int32 [BM, BN].

    The place is MurmurHash3's finaliser of the token's words and the round, as `pool.run_starts`.
    """
    h = (token[0] + tl.cast(i, tl.uint32) * 0x9E3779B9) ^ token[1]
    h = (h ^ (h >> 16)) * 0x85EBCA6B
    h = (h ^ (h >> 13)) * 0xC2B2AE35
    h = h ^ (h >> 16)
    start = tl.multiple_of((h >> POOL_SHIFT).to(tl.int32) * 4, 4)
    return tl.load(pool + start[:, None] + rn[None, :])


@triton.jit
def _byte(word, J: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return byte J of int32 words as a float32, without the 128 that it is stored with.

    Under the exponent of 2^23 (bytes 0 and 2) or 2^15 (1 and 3) a byte is a float's last digits,
    which is four times as fast as converting it.
    """
    half = word
    if J >= 2:
        half = word >> 16
    if J % 2 == 0:
        return ((half & 0xFF) | 0x4B000000).to(tl.float32, bitcast=True) - 8388736.0
    return ((half & 0xFF00) | 0x47000000).to(tl.float32, bitcast=True) - 32896.0


@triton.jit
def _root(x, FAST: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return a square root to some 2^-22, in one instruction where FAST."""
    if FAST:
        return tl.inline_asm_elementwise(
            "sqrt.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1
        )
    return tl.sqrt(x)


@triton.jit
def _code(v, low, high):  # type: ignore[no-untyped-def]
    """Round half to even and clip."""
    return tl.minimum(tl.maximum((v + _MAGIC) - _MAGIC, low), high)


@triton.jit
def _one_more(count, a, b, NATIVE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return a count as a float32, one more where two numbers differ; in two instructions."""
    if NATIVE:
        return tl.inline_asm_elementwise(
            "{ .reg .f32 t; set.neu.f32.f32 t, $1, $2; add.f32 $0, $3, t; }", "=f,f,f,f",
            [a, b, count], tl.float32, is_pure=True, pack=1,
        )  # fmt: skip
    return count + (a != b).to(tl.float32)


@triton.jit
def _bent(v, errors, low, span):  # type: ignore[no-untyped-def]
    """Return a conversion's input with the frozen errors of its converter: gain, offset, bow."""
    gain, offset, bow = errors
    u = (v - low) * span
    bend = bow[None, :] * (u * (1.0 - u))
    return (v * gain[None, :] + offset[None, :]) + bend


# Long: one kernel, whose values stay in registers from the first load to the last store.
@triton.jit(do_not_specialize=["k0", "k1", "m_size"])
def fused_product(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    x, w, out, codes, clipped,
    token_scale, fed, sequence, position, driven,
    column_scale, coefficient, share, column, errors, column_weight,
    table, pool, signs, units, blocks, places, factors,
    m_size, n_size, groups, k0, k1,
    inverse, low, high, span, slope, step,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, EACH: tl.constexpr, PART: tl.constexpr,
    PHASES: tl.constexpr, DAC: tl.constexpr, CUT: tl.constexpr, TWOS: tl.constexpr,
    STORED: tl.constexpr, DIGITS: tl.constexpr,
    NOISE: tl.constexpr, SLOPED: tl.constexpr, BY_ROW: tl.constexpr, POOL_SHIFT: tl.constexpr,
    ERRS: tl.constexpr, EXACT: tl.constexpr, WHOLE: tl.constexpr, CODES: tl.constexpr,
    SUMS: tl.constexpr,
    COUNT: tl.constexpr, SIGNED: tl.constexpr, GROUPED: tl.constexpr, NATIVE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Fill outputs [m_size, n_size] of tokens x outputs.

    If GROUPED each token has one of several matrices, sorted by matrix. Then `column_scale`,
    `coefficient`, `share`, `errors`, `signs`, `step` and `clipped` have those of one matrix after
    another; k0, k1, `inverse`, `slope` and `driven` are in the tables.

    Args:
        x: int8 [PHASES, m_size, groups x ROWS] from `feed_tokens`.
        w: int8 [STORED x DIGITS, n_size, groups x ROWS] from `packed.cell_bytes`.
        out: [m_size, n_size], outputs in their own order.
        codes: int32 [groups, m_size, planes, STORED, n_size], filled if CODES; of a float [n_size,
            m_size, groups], filled with the weighed sum of a group's codes if SUMS, and then the
            outputs are of no use.
        clipped: int64 [], conversions outside the range are added if COUNT.
        token_scale: float32 [m_size].
        fed: float64 [m_size], sums of the fed inputs.
        sequence: int64 [m_size], of which the low half counts.
        position: int64 [m_size].
        driven: float32 [m_size, groups, planes] variance that all columns share in codes^2, or
            [1] if it is that of every conversion (of every output, where noise is drawn once an
            output); in squared steps of the pool where that is drawn from, as `slope`.
        column_scale: float32 [n_size]; this and the next three in the order of places.
        coefficient: float64 [n_size].
        share: float64 [n_size].
        column: int32 [n_size], which output stands at a place.
        errors: float32 [groups, 3, STORED, n_size], gain, offset and bow.
        column_weight: int32 [STORED].
        table: int64 [2049] of normals.
        pool: int32 words of normals.
        signs: int8 [groups, STORED, n_size], -1 where a column is stored as its complement; read
            if SIGNED, as the next one.
        units: [m_size, n_size], in the order of outputs: what unit columns add, in levels.
        blocks: int32 [programs, 3], matrix, first token and the token after its last; read if
            GROUPED, as the next two.
        places: int64 [matrices, 3], where a matrix's cells lie, in bytes from `w`, and its key.
        factors: float32 [matrices, 3], its `inverse`, `slope` and `driven`.
        m_size: tokens.
        n_size: outputs.
        groups: row groups.
        k0: first word of the key of noise.
        k1: second word.
        inverse: codes a grid unit.
        low: lowest code.
        high: highest code.
        span: 1 / (high - low).
        slope: variance a grid unit of the sum, codes^2.
        step: float64 [1], levels a code.
        ROWS: padded rows of a group.
        CHUNK: rows multiplied at once.
        EACH: planes of a phase.
        PART: planes of one round of the loop; divides EACH.
        PHASES: 2 where signs of inputs are fed apart.
        DAC: bits of a plane's codes.
        CUT: codes are cut from bytes, else the byte is the code.
        TWOS: the last plane is the sign of two's complement.
        STORED: stored columns of an output.
        DIGITS: bytes of a cell.
        NOISE: 0 none, 1 addressed normals, 2 the pool, 3 once an output.
        SLOPED: the variance of a conversion grows with its sum.
        BY_ROW: `driven` is that of each token, row group and plane; else driven[0] is that of all.
        POOL_SHIFT: how far a word is shifted to name a run.
        ERRS: converters have frozen errors.
        EXACT: steps in the order of the Numba tile.
        WHOLE: codes are added in int32, else in float32.
        CODES: codes are stored.
        SUMS: their sums of each row group are.
        COUNT: conversions outside the range are counted.
        SIGNED: there are complements and unit columns.
        GROUPED: tokens have one of several matrices.
        NATIVE: with instructions of the device (not in Triton's interpreter).
        BM: tokens of a program.
        BN: outputs of a program.
    """
    pid = tl.program_id(0)
    across = tl.cdiv(n_size, BN)
    pm, pn = pid // across, pid % across
    rm, rn = pm * BM + tl.arange(0, BM), pn * BN + tl.arange(0, BN)
    in_m, in_n = rm < m_size, rn < n_size
    shared = tl.load(driven)
    if GROUPED:
        e = tl.load(blocks + 3 * pm)
        rm = tl.load(blocks + 3 * pm + 1) + tl.arange(0, BM)
        in_m = rm < tl.load(blocks + 3 * pm + 2)
        w += tl.multiple_of(tl.load(places + 3 * e), 16)
        k0 = tl.load(places + 3 * e + 1).to(tl.int32)
        k1 = tl.load(places + 3 * e + 2).to(tl.int32)
        inverse, slope = tl.load(factors + 3 * e), tl.load(factors + 3 * e + 1)
        shared = tl.load(factors + 3 * e + 2)
        column_scale += e * n_size
        coefficient += e * n_size
        share += e * n_size
        errors += e * (groups * 3 * STORED * n_size)
        signs += e * (groups * STORED * n_size)
        step += e
        clipped += e
    k0, k1 = k0.to(tl.uint32, bitcast=True), k1.to(tl.uint32, bitcast=True)
    rk = tl.arange(0, CHUNK)
    depth = groups * ROWS
    xp = x + rm.to(tl.int64)[:, None] * depth + rk[None, :]
    wp = w + rn.to(tl.int64)[:, None] * depth + rk[None, :]
    phase_stride = tl.cast(m_size, tl.int64) * depth
    digit_stride = tl.cast(n_size, tl.int64) * depth
    seq = tl.load(sequence + rm, mask=in_m, other=0).to(tl.int32)
    pos = tl.load(position + rm, mask=in_m, other=0).to(tl.int32)
    total = tl.zeros([BM, BN], tl.int32 if WHOLE else tl.float32)
    spread = tl.zeros([BM, BN], tl.float32)
    lost = tl.zeros([BM, BN], tl.float32)
    sigma = tl.sqrt_rn(shared)
    PARTS: tl.constexpr = EACH // PART
    if NOISE == 2:
        none = tl.zeros([BM], tl.uint32)
        a0, a1, _, _ = philox(
            none, none, pos.to(tl.uint32, bitcast=True), seq.to(tl.uint32, bitcast=True), k0, k1
        )
        ahead = _run(pool, (a0, a1), tl.program_id(0) * 0, rn, POOL_SHIFT)
    for i in range(groups * STORED * PHASES * PARTS):
        part = i % PARTS
        phase = i // PARTS % PHASES
        s = i // (PARTS * PHASES) % STORED
        g = i // (PARTS * PHASES * STORED)
        xg = xp + phase * phase_stride + g * ROWS
        wg = wp + s * DIGITS * digit_stride + g * ROWS
        if CHUNK == ROWS:
            fed_bytes = tl.load(xg, mask=in_m[:, None], other=0)
            w0 = tl.trans(tl.load(wg, mask=in_n[:, None], other=0))
            w1 = w0
            if DIGITS == 2:
                w1 = tl.trans(tl.load(wg + digit_stride, mask=in_n[:, None], other=0))
        if ERRS:
            ep = errors + (g * 3 * STORED + s) * n_size + rn
            bend = (
                tl.load(ep, mask=in_n, other=0.0),
                tl.load(ep + STORED * n_size, mask=in_n, other=0.0),
                tl.load(ep + 2 * STORED * n_size, mask=in_n, other=0.0),
            )
        counts = tl.load(column_weight + s)
        if SIGNED:
            sp = signs + (g * STORED + s) * n_size + rn
            sign = tl.load(sp, mask=in_n, other=1)[None, :]
        if NOISE == 2:
            # What the next round reads is on its way while this one converts.
            run = ahead
            ahead = _run(pool, (a0, a1), i + 1, rn, POOL_SHIFT)
        some = total
        if SIGNED:  # once a round, and not at every conversion
            some = tl.zeros_like(total)
        for j in tl.static_range(PART):
            place = part * PART + j  # of the plane in its phase
            k = phase * EACH + place
            shift = place * DAC
            if CUT:
                mask = ((1 << tl.minimum(DAC, 8 - shift)) - 1) * 0x01010101
            if CHUNK == ROWS:
                a = fed_bytes
                if CUT:
                    a = _cut(fed_bytes, shift, mask, NATIVE)
                acc = _sums(a, (w0, w1), DIGITS)
            else:
                acc = tl.zeros([BM, BN], tl.int32)
                for d in tl.static_range(DIGITS - 1, -1, -1):
                    acc = acc << 8
                    for c in range(0, ROWS, CHUNK):
                        a = tl.load(xg + c, mask=in_m[:, None], other=0)
                        if CUT:
                            a = _cut(a, shift, mask, NATIVE)
                        wt = tl.load(wg + d * digit_stride + c, mask=in_n[:, None], other=0)
                        acc = tl.dot(a, tl.trans(wt), acc, out_dtype=tl.int32)
            weight = counts << shift
            if TWOS:
                weight = tl.where(place == EACH - 1, -weight, weight)
            if PHASES == 2:
                weight = tl.where(phase == 1, -weight, weight)
            sums = acc.to(tl.float32)
            v = sums * inverse
            if ERRS:
                v = _bent(v, bend, low, span)
            each = sigma
            if NOISE > 0 and (SLOPED or BY_ROW):
                variance = shared
                if BY_ROW:
                    row = (rm.to(tl.int64) * groups + g) * (EACH * PHASES) + k
                    variance = tl.load(driven + row, mask=in_m, other=0.0)[:, None]
                if SLOPED:
                    variance = tl.maximum(sums * slope + variance, 0.0)
                if NOISE == 3:
                    wide = weight.to(tl.float32)
                    spread += variance * (wide * wide)
                elif EXACT:
                    each = tl.sqrt_rn(variance)
                else:
                    each = _root(variance, NATIVE)
            if NOISE == 1:
                z = addressed(s * n_size + pn * BN, g * 64 + k, (pos, seq), (k0, k1), table, BN)
                v += each * z
            if NOISE == 2:
                v += each * _byte(run, j)
            code = _code(v, low, high)
            if COUNT:
                lost = _one_more(lost, (v + _MAGIC) - _MAGIC, code, NATIVE)
            if WHOLE:
                some += code.to(tl.int32) * weight
            else:
                some += code * weight.to(tl.float32)
            if CODES:
                at = ((g * m_size + rm.to(tl.int64)) * (EACH * PHASES) + k) * STORED + s
                to = at[:, None] * n_size + tl.load(column + rn, mask=in_n, other=0)[None, :]
                tl.store(codes + to, code.to(tl.int32), mask=in_m[:, None] & in_n[None, :])
        if SIGNED:
            total += some * sign.to(total.dtype)
        else:
            total = some
        if SUMS:
            rounds = STORED * PHASES * PARTS  # of a row group
            if i % rounds == rounds - 1:
                at = tl.load(column + rn, mask=in_n, other=0).to(tl.int64) * m_size
                to = (at[None, :] + rm[:, None]) * groups + g
                kept = total.to(codes.dtype.element_ty)
                tl.store(codes + to, kept, mask=in_m[:, None] & in_n[None, :])
                total = tl.zeros_like(total)
    if COUNT:
        inside = in_m[:, None] & in_n[None, :]
        tl.atomic_add(clipped, tl.sum(tl.where(inside, lost, 0.0).to(tl.int32)).to(tl.int64))
    levels = tl.load(step)
    ts = tl.load(token_scale + rm, mask=in_m, other=0.0)
    cs = tl.load(column_scale + rn, mask=in_n, other=0.0)
    rows_fed = tl.load(fed + rm, mask=in_m, other=0.0)
    offset = tl.load(coefficient + rn, mask=in_n, other=0.0)
    away = tl.load(share + rn, mask=in_n, other=0.0)
    output = tl.load(column + rn, mask=in_n, other=0)
    where = rm.to(tl.int64)[:, None] * n_size + output[None, :]
    inside = in_m[:, None] & in_n[None, :]
    if EXACT:
        y = total.to(tl.float64) * levels + offset[None, :] * rows_fed[:, None] - away[None, :]
        if SIGNED:
            y += tl.load(units + where, mask=inside, other=0.0)
        scale = ts.to(tl.float64)[:, None] * cs.to(tl.float64)[None, :]
        y = (y * scale).to(tl.float32)
    else:
        y = total.to(tl.float32)
        if NOISE == 3:
            if not (SLOPED or BY_ROW):
                spread += shared
            z = addressed(pn * BN, 0xFFFF << 6, (pos, seq), (k0, k1), table, BN)
            y += tl.sqrt(spread) * z
        y = y * levels.to(tl.float32)
        if SIGNED:
            y += tl.load(units + where, mask=inside, other=0.0)
        y += offset.to(tl.float32)[None, :] * rows_fed.to(tl.float32)[:, None]
        y = (y - away.to(tl.float32)[None, :]) * (ts[:, None] * cs[None, :])
    tl.store(out + where, y.to(out.dtype.element_ty), mask=inside)
