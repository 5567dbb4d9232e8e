"""Speed of the torch backend on a CUDA device against a plain bf16 product on the same device.

Protocol: 16,384 tokens x 2,048 inputs x 2,048 outputs, random weights and inputs, kernels warm.
Every form and the plain bf16 product of the same shapes are timed with device events in turn at
each repetition; ratios are paired within a repetition and their median counts. `expanded` divides
by slices x cycles, the number of plain products that the form stands for. Input codes are made
before, and timed on their own; the product's time covers column sums, conversions, shift-and-add
and scales. Codes of `exact` are first compared with the Numba tile's on some tokens.

* detailed: offset encoding, 4 slices of 2 bits, 8 cycles of 1 bit, 128 rows, 8-bit converters.
* read_noise: the same with noise at every conversion whose variance is proportional to the sum.
* charge: pairs of 7-bit cells, all cycles accumulated before one conversion of 256 rows.
* folded: the same matrix as one bf16 product with the error of its conversions at every output.

Programming is timed on 268 million weights in bf16, scale included; cells a second count slices.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from platform import processor, python_version
from statistics import median
from typing import Any

import numpy as np
import torch
import triton

from cimsim.backends.torch import NoisePool
from cimsim.backends.torch.fused import FusedTile
from cimsim.backends.torch.fused_folded import FusedFolded
from cimsim.backends.torch.programming import Writer
from cimsim.backends.torch.written import DeviceWriter
from cimsim.config import Tile
from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.mac import ProgrammedMatrix, Writing, calibrate_range, program_matrix
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["run_torch_bench"]

_MATRIX = MatrixId(0, "bench")
_CHECKED = 64  # tokens whose codes are compared
_CELL = {"kind": "gaussian", "sigma": 0.05, "sigma_unit": "cell_level", "cell_bits": 2}
_READ = {"sigma": 0.01, "sigma_unit": "frac_gmax", "scaling": "sqrt"}
_ADC = {"kind": "isaac", "bits": 8, "range": {"kind": "full"}}
_DETAILED: dict[str, Any] = {
    "crossbar": {"rows": 128, "cols": 8192},
    "weight": {"encoding": "offset"},
    "device": _CELL,
    "adc": _ADC,
}
_TILES: dict[str, dict[str, Any]] = {
    "detailed": _DETAILED,
    "read_noise": _DETAILED | {"device": {**_CELL, "read_noise": _READ}},
    "charge": {
        "crossbar": {"rows": 256, "cols": 8192},
        "weight": {"encoding": "differential"},
        "dac": {"bits": 7},
        "input": {"signed": "two_phase"},
        "pe": {"accumulate_cycles": True},
        "device": {"kind": "gaussian", "sigma": 2.2, "sigma_unit": "weight_lsb", "cell_bits": 7},
        "adc": _ADC | {"range": {"kind": "percentile", "percentile": 99.995}},
    },
}
Call = Callable[[], object]


def run_torch_bench(
    *, size: int = 2048, tokens: int = 16384, repetitions: int = 7
) -> dict[str, Any]:
    """Time the torch backend and return the figures of `bench torch --json`.

    Args:
        size: rows and columns of the weight matrix.
        tokens: vectors a call.
        repetitions: paired repetitions; their median counts.

    Raises:
        CimsimError: if there is no CUDA device.
        CimsimInternalError: if an exact code differs from the Numba tile's.
    """
    if not torch.cuda.is_available():
        raise CimsimError(
            "the torch bench measures Triton kernels, and torch sees no CUDA device",
            hint="install torch with CUDA on a machine with a GPU",
        )
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((size, size)).astype(np.float32)
    x = rng.standard_normal((tokens, size)).astype(np.float32)
    programmed = {name: _program(weight, x, sections) for name, sections in _TILES.items()}
    calls = _calls(programmed, weight, x)
    report: dict[str, Any] = {
        "machine": _machine(),
        "protocol": {
            "tokens": tokens, "inputs": size, "outputs": size, "repetitions": repetitions,
            "ratio": "median of paired repetitions, time / plain bf16 product of the same shapes",
        },
    }  # fmt: skip
    for name, matrix in programmed.items():
        _check(name, matrix, x[:_CHECKED])
    report |= _time(calls, {n: p.formats.stored_columns * p.formats.planes
                            for n, p in programmed.items()}, repetitions)  # fmt: skip
    report["programming"] = _time_programming(repetitions)
    return report


def _machine() -> dict[str, str]:
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": str(torch.version.cuda),
        "python": python_version(),
        "processor": processor(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _program(weight: np.ndarray, x: np.ndarray, sections: dict[str, Any]) -> ProgrammedMatrix:
    tile = Tile.model_validate(sections)
    found = calibrate_range(weight, _MATRIX, tile, x[:_CHECKED])
    programmed = program_matrix(weight, tile, Writing(0, _MATRIX), found)
    if not isinstance(programmed, ProgrammedMatrix):
        message = "the benchmark is about analog crossbars"
        raise CimsimInternalError(message)
    return programmed


def _tokens(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    position = torch.arange(count, device="cuda")
    return torch.zeros_like(position), position


def _check(name: str, programmed: ProgrammedMatrix, x: np.ndarray) -> None:
    """Compare the codes of the exact kernel with those of the Numba tile."""
    keys = TokenKeys(np.zeros(len(x), np.int64), np.arange(len(x), dtype=np.int64))
    fused = FusedTile(programmed)
    found = fused.codes(torch.from_numpy(x).cuda(), _tokens(len(x)), read_seed=0)
    if not np.array_equal(found.cpu().numpy(), programmed.codes(x, keys, read_seed=0)):
        message = f"exact codes of {name} differ from the Numba tile's"
        raise CimsimInternalError(message)


def _calls(
    programmed: dict[str, ProgrammedMatrix], weight: np.ndarray, x: np.ndarray
) -> dict[str, Call]:
    """Return what is timed, by form and precision."""
    narrow = torch.from_numpy(x).cuda().bfloat16()
    plain = torch.from_numpy(weight).cuda().bfloat16()
    pool, addresses = NoisePool.draw(0, "cuda"), _tokens(len(x))

    def product(tile: FusedTile) -> Call:
        fed = tile.kernel.feed(narrow)
        return lambda: tile.kernel(fed, addresses, (1, 2), tile.pool)

    detailed = FusedTile(programmed["detailed"], precision="fast")
    folded = FusedFolded(programmed["charge"])
    codes = folded.feed(narrow)
    return {
        "plain_bf16": lambda: narrow @ plain,
        "feed": lambda: detailed.kernel.feed(narrow),
        "detailed.fast": product(detailed),
        "detailed.exact": product(FusedTile(programmed["detailed"])),
        "read_noise.fast": product(
            FusedTile(programmed["read_noise"], precision="fast", pool=pool)
        ),
        "read_noise.fast_once_an_output": product(
            FusedTile(programmed["read_noise"], precision="fast", read_noise="output")
        ),
        "read_noise.exact": product(FusedTile(programmed["read_noise"])),
        "charge.fast": product(FusedTile(programmed["charge"], precision="fast")),
        "charge.exact": product(FusedTile(programmed["charge"])),
        "folded.fast": lambda: folded.product(codes, addresses, (1, 2)),
    }


def _milliseconds(call: Call) -> float:
    event: Any = torch.cuda.Event
    start, stop = event(enable_timing=True), event(enable_timing=True)
    start.record()
    call()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop))


def _time(calls: dict[str, Call], expansion: dict[str, int], repetitions: int) -> dict[str, Any]:
    """Time every call in turn, several times over."""
    for call in calls.values():
        call()
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            # A single plain product is short: several, of which the median counts.
            found[name].append(median(_milliseconds(call) for _ in range(5)))
    report: dict[str, Any] = {}
    for name, times in found.items():
        ratios = [t / p for t, p in zip(times, found["plain_bf16"], strict=True)]
        form = name.split(".", maxsplit=1)[0]
        report[name] = {"milliseconds": median(times), "ratio": median(ratios)}
        if form in expansion:
            report[name]["ratio_expanded"] = median(ratios) / expansion[form]
    quiet, loud = report["detailed.fast"], report["read_noise.fast"]
    report["read_noise_over_none"] = {
        "fast": loud["ratio"] / quiet["ratio"],
        "exact": report["read_noise.exact"]["ratio"] / report["detailed.exact"]["ratio"],
    }
    report["exact_over_fast"] = report["detailed.exact"]["ratio"] / quiet["ratio"]
    return report


def _time_programming(repetitions: int) -> dict[str, Any]:
    """Time writing of cells."""
    n_out, n_in = 32768, 8192
    weight = torch.randn(n_out, n_in, device="cuda", dtype=torch.bfloat16)
    writing = Writing(0, _MATRIX)
    sliced = DeviceWriter(Writer.of(Tile.model_validate(_DETAILED), writing, n_in, n_out))
    whole = DeviceWriter(Writer.of(Tile.model_validate(_TILES["charge"]), writing, n_in, n_out))
    calls: dict[str, tuple[Call, int]] = {
        "scale": (lambda: sliced.scale(weight), 1),
        "integers": (lambda: sliced.integers(weight), 1),
        "sliced_exact": (lambda: sliced.write(weight), 4),
        "sliced_fast": (lambda: sliced.write_fast(weight), 4),
        "folded_fast": (lambda: whole.fold(weight), 1),
    }
    report = {}
    for name, (call, cells) in calls.items():
        call()
        rate = weight.numel() / median(_milliseconds(call) for _ in range(repetitions)) / 1e6
        report[name] = {"gweights_per_s": rate, "gcells_per_s": rate * cells}
    return report
