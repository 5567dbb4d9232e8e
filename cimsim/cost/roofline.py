"""Decode on a digital device by its roofline (Williams et al., CACM 52(4), 2009).

A step decodes one token of each of B sequences. Every operation of the program takes the longer
of its two times,

    t = max(operations / (peak x efficiency), bytes / (bandwidth x efficiency)),

and the step is their sum: weights are read once a step, keys and values of every sequence whole,
elementwise work hides behind both. Of E experts of which a token chooses k, B tokens that choose
evenly read E (1 - (1 - k / E)^B) in the mean; uneven ones read fewer. Energy is the power that
was measured while compute or memory limits, times the time that each does.

Where weights and cache of a batch exceed a device's memory, as many devices share the step as
hold them, evenly and with free links: an ideal that flatters the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from cimsim.config.baseline import DTYPE_BITS, Baseline
from cimsim.units import BITS_PER_BYTE, OPS_PER_MAC
from cimsim.workload.operations import Attend, Experts, Operation
from cimsim.workload.program import Program

__all__ = ["RooflineStep", "decode_step"]


@dataclass(frozen=True)
class RooflineStep:
    """One decode step of a batch.

    Attributes:
        baseline: the device.
        batch: sequences.
        devices: that hold weights and cache together.
        compute_s, memory_s: time in which products, and memory, limit one step.
    """

    baseline: Baseline
    batch: int
    devices: int
    compute_s: float
    memory_s: float

    @property
    def step_s(self) -> float:
        """Time of a step, which is that of a token of each sequence."""
        return self.compute_s + self.memory_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences."""
        return self.batch / self.step_s

    @property
    def power_w(self) -> float:
        """Mean power of all devices."""
        b = self.baseline
        spent = self.compute_s * b.compute_power.value + self.memory_s * b.memory_power.value
        return self.devices * spent / self.step_s

    @property
    def energy_per_token_j(self) -> float:
        """Energy of a token."""
        return self.power_w / self.tokens_per_s

    @property
    def area_mm2(self) -> float:
        """Dies of all devices, memory not counted."""
        return self.devices * self.baseline.die_mm2

    @property
    def limit(self) -> str:
        """What limits most of the step."""
        return "memory" if self.memory_s >= self.compute_s else "compute"


def decode_step(baseline: Baseline, program: Program, batch: int, context: int) -> RooflineStep:
    """Return the step that decodes a token of each sequence.

    Args:
        baseline: the device.
        program: the model.
        batch: sequences at once.
        context: positions that a token attends to, its own included.
    """
    position = program.heads.position_bytes(baseline.kv_bits)
    bits = DTYPE_BITS[baseline.dtype]
    stored = sum(m.size for m in program.matrices()) * bits / BITS_PER_BYTE
    cache = batch * context * position * program.attending
    devices = max(1, ceil((stored + cache) / (baseline.memory_gb * 1e9)))
    rate = baseline.peak_tops[baseline.dtype] * 1e12 * baseline.compute_efficiency.value
    width = baseline.memory_gb_per_s * 1e9 * baseline.memory_efficiency.value
    compute = memory = 0.0
    for operation in program.operations:
        if isinstance(operation, Attend):
            macs = context * operation.heads.macs_per_position
            read = float(batch * context * position)
        else:
            macs, read = operation.macs, _weights_read(operation, batch) * bits / BITS_PER_BYTE
        working, reading = OPS_PER_MAC * batch * macs / rate, read / width
        if reading >= working:
            memory += reading
        else:
            compute += working
    return RooflineStep(baseline, batch, devices, compute / devices, memory / devices)


def _weights_read(operation: Operation, batch: int) -> float:
    """Return the weights that a step reads: of experts those that any token chose."""
    stored = float(sum(m.size for m in operation.matrices))
    if not isinstance(operation, Experts) or not operation.experts:
        return stored
    every = len(operation.experts)
    untouched = (1 - operation.top_k / every) ** batch
    routed = sum(m.size for expert in operation.experts for m in expert)
    return stored - untouched * routed
