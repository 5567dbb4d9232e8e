"""Where the time of a product goes, stage by stage, and what bounds each stage.

Stages are timed alone on the data of the first tokens, in the chunks that a product takes, and
scaled to the whole batch; of repetitions the least disturbed counts:

* products: exact column sums. Bound by multiply-accumulates per second: `products_peak` is the
  rate of the same kernel on a block that never leaves the first-level cache.
* second_product: the same for squares of conductances, where read noise depends on them.
* normals: random numbers. Bound by Philox's multiplications and one indexed load a number.
* conversion: noise, rounding, clipping, shift-and-add. Bound by the second-level cache, where
  the sums of a chunk lie.
* rest: quantising, feeding, scaling, and what the timing of stages misses or counts twice.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from cimsim.mac import MatrixCounts, ProgrammedMatrix
from cimsim.mac.columns import NO_SIGNS
from cimsim.mac.inputs import Tokens
from cimsim.mac.products import Products
from cimsim.mac.quantize import quantized_inputs
from cimsim.mac.vnni import BLOCK
from cimsim.rng import fill_normals
from cimsim.workload.matrix import TokenKeys

__all__ = ["find_limits", "time_stages"]

_PEAK_PLANES = 48
_PEAK_CALLS = 50


def _least_s(call: Callable[[], object], repetitions: int) -> float:
    call()
    found = []
    for _ in range(max(1, repetitions)):
        start = perf_counter()
        call()
        found.append(perf_counter() - start)
    return min(found)


def time_stages(
    programmed: ProgrammedMatrix,
    x: NDArray[np.float32],
    keys: TokenKeys,
    repetitions: int,
    total_s: float,
) -> dict[str, float]:
    """Return milliseconds by stage, which add up to those of the whole product.

    Args:
        programmed: the matrix.
        x: float32 [n, n_in], finite, with per-token scales.
        keys: addresses of the tokens.
        repetitions: of every stage; the least counts.
        total_s: least time of the whole product.
    """
    formats, products, conversion = programmed.formats, programmed.products, programmed.conversion
    tokens = min(programmed.chunk_tokens, x.shape[0])
    q, scale = quantized_inputs(x[:tokens], formats.input_bits, 0.0, programmed.matrix)
    counts = MatrixCounts()
    drive, _ = conversion.drive(q, products, counts)
    (planes,), (power,) = drive.planes, drive.power
    sums = products.empty_sums(planes)
    acc = np.zeros((tokens, formats.n_out), dtype=np.float32)
    units = np.zeros((tokens, formats.units))
    target = (acc, units, formats.plane_weight, programmed.columns.weight, NO_SIGNS)
    squares = conversion.squares
    z = np.empty(-(-formats.columns // 64) * 64, dtype=np.float32)
    bits = np.empty(z.size, dtype=np.uint32)
    groups = range(len(formats.groups))

    def convert() -> None:
        part = Tokens(q, scale, keys.sequence[:tokens], keys.position[:tokens], (0, 0))
        for group in groups:
            conversion.convert(group, (sums,), drive, target, part, counts)

    def multiply_squares() -> None:
        if squares is not None:
            second = squares.empty_sums(power)
            for group in groups:
                squares.fill(power, group, second)

    def draw() -> None:
        for row in range(tokens * formats.planes * len(formats.groups)):
            fill_normals(z, bits, 0, row, 0, 0, 0, 0)

    calls = x.shape[0] / tokens * 1e3
    stages = {"products": calls * _least_s(lambda: _fill(products, planes, sums), repetitions)}
    within = 0.0
    if squares is not None:
        stages["second_product"] = calls * _least_s(multiply_squares, repetitions)
        within += stages["second_product"]
    if conversion.has_fresh_noise:
        stages["normals"] = calls * _least_s(draw, repetitions)
        within += stages["normals"]
    stages["conversion"] = calls * _least_s(convert, repetitions) - within
    stages["rest"] = total_s * 1e3 - sum(stages.values())
    return stages


def _fill(products: Products, planes: NDArray[np.generic], sums: NDArray[np.generic]) -> None:
    for group in range(len(products.groups)):
        products.fill(planes, group, sums)  # type: ignore[arg-type]


def find_limits(
    programmed: ProgrammedMatrix, tokens: int, stages: dict[str, float], repetitions: int
) -> dict[str, float]:
    """Return the rates that stages reach, and those that bound them.

    Args:
        programmed: the matrix.
        tokens: vectors that the stages were timed for.
        stages: milliseconds by stage.
        repetitions: of the peak; the least counts.
    """
    formats = programmed.formats
    macs = tokens * formats.planes * formats.n_in * formats.columns
    conversions = tokens * formats.tiling.conversions_per_vector
    found = {
        "products_gmac_per_s": macs / stages["products"] / 1e6,
        "products_peak_gmac_per_s": _peak(programmed, repetitions),
        "conversion_ns_each": stages["conversion"] / conversions * 1e6,
    }
    if "normals" in stages:
        found["normals_ns_each"] = stages["normals"] / conversions * 1e6
    return found


def _peak(programmed: ProgrammedMatrix, repetitions: int) -> float:
    """Return the rate of the product's kernel on one block of columns, GMAC per second."""
    formats = programmed.formats
    group = formats.groups[0]
    block = np.ones((group.stop - group.start, BLOCK), dtype=np.float32)
    first = type(group)(0, group.stop - group.start, 0)
    products = Products(block, (first,), formats.max_code)
    planes = products.empty_planes(_PEAK_PLANES)
    planes[:] = 1
    sums = products.empty_sums(planes)

    def call() -> None:
        for _ in range(_PEAK_CALLS):
            products.fill(planes, 0, sums)

    seconds = _least_s(call, repetitions)
    return _PEAK_CALLS * _PEAK_PLANES * block.size / seconds / 1e9
