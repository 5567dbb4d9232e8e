"""What a checkpoint is, and what a run of it takes of this machine in each tile mode.

Memory is the predicted peak of a run (`cimsim.stages.memory`). Time is that of writing a chip
and of one pass of the scored tokens over it, from a probe: the matrix of the program with most
weights is written and read on this machine, kernels compiled before, and its rates are those of
all analog matrices. Digital layers, calibration and the full-size model come on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from cimsim.chip import Unit, analog_units
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import Writing
from cimsim.mac.matrix import Mode
from cimsim.model import Checkpoint
from cimsim.model.weight_source import CheckpointWeight
from cimsim.stages.compute import NUMBA
from cimsim.stages.memory import machine_bytes, peak_bytes
from cimsim.workload.matrix import Matrix, TokenKeys
from cimsim.workload.program import Program

__all__ = ["ModeDemand", "demands", "describe_model"]

MODES: tuple[Mode, ...] = ("detailed", "folded")
PROBE_TOKENS = 64


@dataclass(frozen=True)
class ModeDemand:
    """What one tile mode takes.

    Attributes:
        mode: detailed or folded.
        memory_bytes: predicted peak.
        write_s: writing every analog matrix once, and folding it in folded mode.
        pass_s: the scored tokens through them.
        fits: whether this machine has the memory.
    """

    mode: str
    memory_bytes: int
    write_s: float
    pass_s: float
    fits: bool


def describe_model(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Return what was found in a folder, (name, value) in words."""
    program = checkpoint.program
    layers, moe = program.layers, program.moe_layers
    weights = sum(
        m.size for m in program.matrices() if not (program.tied_head and m == program.head)
    )
    more = sum(math.prod(s) for o in program.operations for s in o.parameters.values())
    active = program.linear_macs_per_token()
    experts = f"{program.n_experts} a layer, {program.top_k} per token" if moe else "none"
    widths = dict.fromkeys(m.n_out for n in moe for m in layers[n].experts[0][:1])
    if widths:
        experts += f", {', '.join(map(str, widths))} wide"
    if moe:
        with_shared = sum(bool(layers[n].shared) for n in moe)
        experts += f"; shared ones in {with_shared} layers" if with_shared else "; no shared ones"
    stored = ", ".join(
        f"{dtype} ({size / 1e9:.2f} GB)" if size >= 1e8 else f"{dtype} ({size / 1e6:.1f} MB)"
        for dtype, size in checkpoint.stored_bytes.items()
    )
    return [
        ("family", checkpoint.family),
        ("layers", f"{len(layers)}, {len(moe)} with experts, width {program.d_model}"),
        ("experts", experts),
        ("parameters", f"{(weights + more) / 1e6:,.1f} M, {active / 1e6:,.1f} M active per token"),
        ("stored as", stored),
        ("tokenizer", _tokenizer(checkpoint)),
        ("identity", checkpoint.hash[:16]),
    ]  # fmt: skip


def _tokenizer(checkpoint: Checkpoint) -> str:
    try:
        known, begin = checkpoint.tokenizer.get_vocab_size(), checkpoint.bos
    except CimsimError as error:
        return error.sentence()
    first = "no special token" if begin is None else f"token {begin}"
    return f"{known:,} tokens of {checkpoint.program.vocab_size:,}, windows begin with {first}"


def demands(checkpoint: Checkpoint, config: ChipConfig) -> list[ModeDemand]:
    """Return what each tile mode takes of this machine; none on a chip without crossbars.

    Args:
        checkpoint: the model.
        config: the chip, with the tokens that are scored.
    """
    units = analog_units(checkpoint.program, config)
    if not units:
        return []
    probe = max((t.matrix for u in units for t in u.tilings), key=lambda matrix: matrix.size)
    weights = sum(t.matrix.size for u in units for t in u.tilings) / probe.size
    reads = _macs(checkpoint.program, units) * config.workload.tokens / probe.size
    found = []
    for mode in MODES:
        rates = _probe(checkpoint, probe, config, mode)
        if rates is None:
            continue
        run = config.run.model_copy(update={"tile_mode": mode})
        memory = peak_bytes(
            config.model_copy(update={"run": run}), checkpoint.program, units, threads=1
        )
        write_s, read_s = rates
        fits = memory <= machine_bytes()
        found.append(ModeDemand(mode, memory, weights * write_s, reads * read_s, fits))
    return found


def _macs(program: Program, units: Sequence[Unit]) -> float:
    """Return the multiply-accumulates of a token in analog matrices: of the chosen experts."""
    share = program.top_k / program.n_experts if program.moe_layers else 0.0
    return sum(
        t.matrix.size * (share if u.key.part == "experts" else 1.0)
        for u in units
        for t in u.tilings
    )


def _probe(
    checkpoint: Checkpoint, matrix: Matrix, config: ChipConfig, mode: Mode
) -> tuple[float, float] | None:
    """Return the seconds of writing a matrix and of one token through it, or None.

    None means that it cannot be folded. Kernels are compiled by a copy that is not timed.
    """
    weight = CheckpointWeight(NUMBA.backend, checkpoint, matrix.id)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((PROBE_TOKENS, matrix.n_in)).astype(np.float32)
    keys = TokenKeys.of_windows(np.arange(1), PROBE_TOKENS)
    first = keys.take(np.arange(1))
    adc_range = NUMBA.calibrate(weight(), matrix.id, config.tile, x)
    for _ in range(2):
        began = perf_counter()
        copy = NUMBA.write(weight, config.tile, Writing(0, matrix.id), adc_range)
        if mode == "folded" and not copy.folds:
            return None
        copy.multiply(x[:1], first, read_seed=0, mode=mode, replica=0, statistics=None)
        written = perf_counter()
        copy.multiply(x, keys, read_seed=0, mode=mode, replica=0, statistics=None)
        done = perf_counter()
    return written - began, (done - written) / PROBE_TOKENS
