"""Memory that a run takes at its peak: known from shapes before anything is computed.

A model passes through memory layer by layer, so that what stays is bounded, whatever its size:

    peak = program + digital parameters + cached matrices + copies kept a chip seed
         + one matrix as it is read and written + activations + what calibration records

The terms are upper bounds that are not all reached at once; `tests/pipeline/test_memory.py` holds
the sum against what runs take. Counted is the Numba backend.

On a device torch keeps what it has room for, and reads or writes the rest again in every pass:

    device = weights as stored + cells + folded forms + activations + what calibration records

is what a chip keeps where there is room for all (`cimsim.stages.device_share`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from cimsim.chip import Unit
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.model.stored_weights import CACHE_BYTES
from cimsim.stages.compute import NUMBA
from cimsim.stages.scoring import calibration_method
from cimsim.workload.program import Program
from romer import steps_of

__all__ = ["check_device", "check_memory", "device_bytes", "machine_bytes", "peak_bytes"]

PROGRAM_BYTES = 500 << 20  # interpreter, libraries, compiled kernels, tokenizer, texts
FLOAT = 4
CELL = 2 * FLOAT  # a cell is held as it was written, and as it is multiplied
LAYER = 4  # a weight on a device: as it is stored, and as it is written
WEIGHT = 10  # its integer, and its share of the folded form in float64
READING = 3 * FLOAT  # a matrix as stored, in float32 and transposed
STORED = 2  # bytes of a weight on a device, and of its folded form
BYTE_LEVELS = 31  # the most of a cell that is a byte on a device (`backends.torch.packed`)
STREAMS = 8  # arrays of d_model a token at once: residual, normed, q, k, v, mixed, output, sum
ACCEPT_SHARE = 0.2  # of calibration text
ACCEPT_ARRAYS = 4  # of a token's vocabulary: clean and noisy predictions, as logits and as logs
CGROUP = Path("/sys/fs/cgroup/memory.max")


def peak_bytes(config: ChipConfig, program: Program, units: Iterable[Unit], threads: int) -> int:
    """Return the peak of one chip with one model, bytes of resident memory.

    Args:
        config: the chip.
        program: the model.
        units: its analog parts.
        threads: chip seeds evaluated at once, at most.
    """
    matrices = tuple(program.matrices())
    parameters = sum(
        math.prod(shape) for o in program.operations for shape in o.parameters.values()
    )
    cached = min(CACHE_BYTES, FLOAT * sum(m.n_in * m.n_out for m in matrices))
    held = [_held(unit) for unit in units]
    kept = min(NUMBA.kept_bytes, sum(map(sum, held)))
    one = max((b for some in held for b in some), default=0)
    one += READING * max((m.n_in * m.n_out for m in matrices), default=0)
    seeds = min(threads, config.run.chip_seeds)
    return round(
        PROGRAM_BYTES
        + FLOAT * parameters
        + cached
        + seeds * (kept + one + _activations(config, program) + _calibration(config, program))
    )


def device_bytes(config: ChipConfig, program: Program, units: Iterable[Unit]) -> int:
    """Return what one chip with one model keeps on a device that has room for all of it.

    Args:
        config: the chip.
        program: the model.
        units: its analog parts.
    """
    cell = 1 if 2**config.tile.device.cell_bits - 1 <= BYTE_LEVELS else 2
    written = sum(
        cell * tiling.cells + STORED * tiling.matrix.size
        for unit in units
        for tiling in unit.tilings
    )
    weights = STORED * sum(matrix.size for matrix in program.matrices())
    return round(weights + written + _activations(config, program) + _calibration(config, program))


def _held(unit: Unit) -> list[int]:
    """Return the bytes of a copy of each matrix of a unit."""
    return [
        CELL * tiling.cells + WEIGHT * tiling.matrix.n_in * tiling.matrix.n_out
        for tiling in unit.tilings
    ]


def _activations(config: ChipConfig, program: Program) -> float:
    """Return the bytes of tokens on their way through a layer, and of those that wait."""
    batch = min(NUMBA.backend.batch_tokens, config.workload.tokens)
    width = max(m.n_in for m in program.matrices())
    top_k = max((layer.top_k for layer in program.layers if layer.experts), default=0)
    block = batch * width * (STREAMS + top_k)
    head = batch * program.vocab_size
    return FLOAT * (max(block, head) + config.workload.tokens * width)


def _calibration(config: ChipConfig, program: Program) -> float:
    """Return the bytes of what calibration records of its text, on the clean model and a chip."""
    if not steps_of(calibration_method(config)):
        return 0.0
    accept = ACCEPT_SHARE * config.calibration.tokens
    fit = config.calibration.tokens - accept
    records = 2 * 2 * len(program.layers) * fit * program.d_model
    return FLOAT * (records + ACCEPT_ARRAYS * accept * program.vocab_size)


def machine_bytes() -> int:
    """Return the memory of this machine, or what its control group allows this process."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = CGROUP.read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdigit() else physical


def check_device(config: ChipConfig, program: Program, have: int | None) -> None:
    """Refuse a device whose memory does not hold one layer, as it is stored and as it is written.

    Larger models pass through a device layer by layer; less than a layer cannot.

    Args:
        config: the chip.
        program: the model.
        have: bytes of the device for weights and written matrices; None on a processor.

    Raises:
        CimsimError: if there is less.
    """
    if have is None:
        return
    layers = [sum(m.n_in * m.n_out for m in layer.matrices()) for layer in program.layers]
    needed = LAYER * max(layers)
    if needed > have:
        limited = config.run.device_gb is not None
        raise CimsimError(
            f"one layer of {program.name} takes {needed / 1e9:.1f} GB on the device, beside "
            f"activations, and there are {have / 1e9:.1f} GB",
            key="run.device_gb" if limited else "run.device",
            value=config.run.device_gb if limited else config.run.device,
            allowed=f"at least {needed / 1e9:.1f} GB",
            hint="give it more memory, or compute on the processor (run.device=cpu)",
        )


def check_memory(needed: int, jobs: int) -> None:
    """Refuse a run that this machine has no memory for.

    Args:
        needed: bytes at the peak.
        jobs: chips at once.

    Raises:
        CimsimError: if there is less.
    """
    have = machine_bytes()
    if needed > have:
        raise CimsimError(
            f"the run would take {needed / 1e9:.1f} GB of memory at its peak, and this machine "
            f"has {have / 1e9:.1f} GB",
            key="--jobs",
            value=jobs,
            hint="run fewer chips and chip seeds at once (--jobs 1 --threads 1), or take fewer "
            "calibration tokens (calibration.tokens)",
        )
