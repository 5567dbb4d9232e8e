"""Speed of the functional tile against NumPy's single-precision matrix product.

Protocol: 1024 x 1024 Gaussian weights, a batch of 256 inputs drawn from N(0, 1), clipped at
three sigma; programming noise on, so levels are not whole numbers; converter range from the
maximum; clipping on; one BLAS thread. Every mode and the sgemm of the same shapes (float32,
C order, warm) are timed in turn at each repetition; ratios are paired within a repetition
and their median counts. Each mode is first checked against the slow twin, bit by bit.

* simple: one pair of cells per weight, whole inputs in one conversion, 256-row split, fresh
  noise at the converter's input.
* detailed: offset encoding, 4 slices of 2 bits, 8 cycles of 1 bit, 256-row crossbars, an
  8-bit conversion each: 32 times the multiply-accumulates.
* detailed_read_noise: the same with read noise whose variance is proportional to the
  conductance, one normal per conversion (Philox).
* second_product: differential pairs with such noise, which need a second product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.bench.mac_stages import find_limits, time_stages
from cimsim.config import Tile
from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.mac import (
    MacStatistics,
    ProgrammedMatrix,
    Writing,
    calibrate_range,
    program_matrix,
)
from cimsim.mac.formats import formats_of
from cimsim.mac.vnni import has_dot_product
from cimsim.testing import slow_product
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["compile_all", "run_mac_bench"]

_MATRIX = MatrixId(0, "bench")
_TWIN_TOKENS = 2
_WARM_CALLS = 2

_CROSSBAR = {"rows": 256, "cols": 8192}
_ADC = {"kind": "isaac", "bits": 8, "range": {"kind": "full"}}
_CELL = {"kind": "gaussian", "sigma": 0.05, "sigma_unit": "cell_level", "cell_bits": 2}
_READ = {"sigma": 0.01, "sigma_unit": "frac_gmax", "scaling": "sqrt"}
_MODES: dict[str, dict[str, Any]] = {
    "simple": {
        "crossbar": _CROSSBAR,
        "weight": {"encoding": "differential"},
        "dac": {"bits": 7},
        "input": {"signed": "two_phase"},
        "pe": {"accumulate_cycles": True},
        "device": {"kind": "gaussian", "sigma": 2.2, "sigma_unit": "weight_lsb", "cell_bits": 7},
        "adc": {**_ADC, "noise_lsb": 0.5},
    },
    "detailed": {
        "crossbar": _CROSSBAR,
        "weight": {"encoding": "offset"},
        "device": _CELL,
        "adc": _ADC,
    },
    "detailed_read_noise": {
        "crossbar": _CROSSBAR,
        "weight": {"encoding": "offset"},
        "device": {**_CELL, "read_noise": _READ},
        "adc": _ADC,
    },
    "second_product": {
        "crossbar": _CROSSBAR,
        "weight": {"encoding": "differential"},
        "device": {**_CELL, "read_noise": _READ},
        "adc": _ADC,
    },
}


@dataclass(frozen=True)
class _Case:
    """One mode, programmed."""

    programmed: ProgrammedMatrix
    expansion: int


def run_mac_bench(
    *, size: int = 1024, batch: int = 256, repetitions: int = 15, modes: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Time the functional tile and return the figures of `bench mac --json`.

    Args:
        size: rows and columns of the weight matrix.
        batch: vectors per call.
        repetitions: paired repetitions; their median counts.
        modes: which modes to time; all if empty.

    Returns:
        For each mode `ratio` (time over one sgemm) and `ratio_expanded` (over as many sgemms
        as slices x cycles), each with min and max, milliseconds, stages and
        limits (`cimsim.bench.mac_stages`); `batch1` with
        `ratio_per_vector`; `inputs` with the bit density; `protocol`.

    Raises:
        CimsimError: if a mode is not known or a count is below one.
        CimsimInternalError: if a mode differs from its slow twin.
    """
    if min(size, batch, repetitions) < 1:
        raise CimsimError(
            "sizes and repetitions are at least one", value=(size, batch, repetitions)
        )
    chosen = modes or tuple(_MODES)
    for mode in chosen:
        if mode not in _MODES:
            raise CimsimError("unknown mode", value=mode, allowed=", ".join(_MODES))
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((size, size)).astype(np.float32)
    x = np.clip(rng.standard_normal((batch, size)), -3, 3).astype(np.float32)
    keys = TokenKeys(np.zeros(batch, np.int64), np.arange(batch, dtype=np.int64))
    report: dict[str, Any] = {
        "protocol": {
            "size": size, "batch": batch, "repetitions": repetitions,
            "ratio": "median of paired repetitions, time / sgemm of the same shapes",
            "products": "16-bit dot products" if has_dot_product() else "BLAS",
        },
    }  # fmt: skip
    for mode in chosen:
        case = _prepare(Tile.model_validate(_MODES[mode]), weight)
        _check_against_twin(mode, case.programmed, x, keys)
        report[mode] = _time_mode(case, weight, x, keys, repetitions)
        if mode == "detailed":
            report["batch1"] = _time_small_batches(case.programmed, x, keys, repetitions)
            report["inputs"] = _bit_density(case.programmed, x, keys)
    return report


def compile_all() -> None:
    """Compile, or load, every kernel that the modes of the benchmark use, folded ones included."""
    x = np.eye(_TWIN_TOKENS, 64, dtype=np.float32)
    keys = TokenKeys(np.zeros(_TWIN_TOKENS, np.int64), np.arange(_TWIN_TOKENS, dtype=np.int64))
    for mode in _MODES.values():
        programmed = _prepare(Tile.model_validate(mode), np.eye(64, dtype=np.float32)).programmed
        programmed.multiply(x, keys, read_seed=0)
        programmed.multiply(x, keys, read_seed=0, mode="folded")


def _prepare(tile: Tile, weight: NDArray[np.float32]) -> _Case:
    formats = formats_of(_MATRIX, weight.shape[0], weight.shape[1], tile)
    adc_range = calibrate_range(weight, _MATRIX, tile)
    programmed = program_matrix(weight, tile, Writing(0, _MATRIX), adc_range)
    if not isinstance(programmed, ProgrammedMatrix):
        message = "the benchmark is about analog crossbars"
        raise CimsimInternalError(message)
    slices = formats.stored_columns
    return _Case(programmed, slices * formats.planes)


def _check_against_twin(
    mode: str, programmed: ProgrammedMatrix, x: NDArray[np.float32], keys: TokenKeys
) -> None:
    few = np.arange(min(_TWIN_TOKENS, x.shape[0]))
    fast = programmed.multiply(x, keys, read_seed=0)[few]
    slow = slow_product.multiply(programmed, x[few], keys.take(few), read_seed=0)
    if not np.array_equal(fast, slow):
        message = f"mode {mode} differs from its slow twin"
        raise CimsimInternalError(message)


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def _time_mode(
    case: _Case,
    weight: NDArray[np.float32],
    x: NDArray[np.float32],
    keys: TokenKeys,
    repetitions: int,
) -> dict[str, Any]:
    """Time one mode and the sgemm in turn."""
    out = np.empty((x.shape[0], weight.shape[1]), dtype=np.float32)

    def sgemm() -> object:
        return np.matmul(x, weight, out=out)

    def tile() -> object:
        return case.programmed.multiply(x, keys, read_seed=0)

    for _ in range(_WARM_CALLS):
        sgemm()
        tile()
    ours, theirs = [], []
    for _ in range(repetitions):
        # A single sgemm is short: several in a row, so that one interruption weighs less.
        theirs.append(_seconds(lambda: [sgemm() for _ in range(5)]) / 5)
        ours.append(_seconds(tile))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    expanded = _spread([r / case.expansion for r in ratios])
    whole = _spread(ratios)
    return {
        "ratio": whole["median"],
        "ratio_min": whole["min"],
        "ratio_max": whole["max"],
        "ratio_expanded": expanded["median"],
        "ratio_expanded_min": expanded["min"],
        "ratio_expanded_max": expanded["max"],
        "expansion": case.expansion,
        "milliseconds": median(ours) * 1e3,
        "sgemm_milliseconds": median(theirs) * 1e3,
        **_where_time_goes(case, x, keys, repetitions, min(ours), min(theirs)),
        "bit_equal_to_twin": True,
    }


def _where_time_goes(
    case: _Case,
    x: NDArray[np.float32],
    keys: TokenKeys,
    repetitions: int,
    ours_s: float,
    sgemm_s: float,
) -> dict[str, Any]:
    """Return stages, and the rates that bound them."""
    stages = time_stages(case.programmed, x, keys, repetitions, ours_s)
    rates = find_limits(case.programmed, x.shape[0], stages, repetitions)
    formats = case.programmed.formats
    rates["sgemm_gmac_per_s"] = x.shape[0] * formats.n_in * formats.n_out / sgemm_s / 1e9
    return {"stages_milliseconds": stages, "limits": rates}


def _time_small_batches(
    programmed: ProgrammedMatrix, x: NDArray[np.float32], keys: TokenKeys, repetitions: int
) -> dict[str, Any]:
    """Time a vector in small batches against one in the full batch."""

    def each(count: int) -> float:
        rows = np.arange(min(count, x.shape[0]))
        part, its = x[rows], keys.take(rows)
        return _seconds(lambda: programmed.multiply(part, its, read_seed=0)) / rows.size

    ratios: dict[int, list[float]] = {1: [], 2: [], 4: [], 8: []}
    for _ in range(repetitions):
        full = each(x.shape[0])
        for count, found in ratios.items():
            found.append(median(each(count) for _ in range(3)) / full)
    one = _spread(ratios[1])
    return {
        "ratio_per_vector": one["median"],
        "ratio_per_vector_min": one["min"],
        "ratio_per_vector_max": one["max"],
        "by_batch": {str(count): median(found) for count, found in ratios.items()},
    }


def _bit_density(
    programmed: ProgrammedMatrix, x: NDArray[np.float32], keys: TokenKeys
) -> dict[str, float | None]:
    statistics = MacStatistics()
    programmed.multiply(x, keys, read_seed=0, statistics=statistics)
    return {
        "bit_density": statistics.total.input_bit_density,
        "clip_rate": statistics.clip_rate,
    }
