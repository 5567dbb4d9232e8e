"""Steps of a flight through a decoder: a digital job, then perhaps a visit to tiles.

A step is one job on the flight's digital unit followed by at most one analog stage. Which
operations share a job follows from which parts of the model are analog: everything digital
between two analog stages is one job. The step that reads keys and values first waits until
the earlier flights of its sequence have written theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from cimsim.config import ChipConfig
from cimsim.engine.weight_reads import WeightReads
from cimsim.workload.program import Layer, Matrix, Program

__all__ = ["CorrectionWork", "Step", "Work", "build_steps", "digital_matrices"]

NONE = -1


@dataclass(frozen=True)
class CorrectionWork:
    """Digital operations that a calibration adds to every token in every MoE layer.

    Attributes:
        macs: multiply-accumulates.
        elements: elementwise operations.
    """

    macs: int = 0
    elements: int = 0


@dataclass
class Work:
    """Digital operations of one token in one job.

    Attributes:
        macs: MACs by use.
        elements: elementwise operations by use.
        stream_bytes: weights streamed from DRAM a flight, in the mean over flights.
        weight_bytes: weights read from the units' weight memory a flight, in the mean;
            streamed ones pass through it.
    """

    macs: dict[str, int] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    stream_bytes: int = 0
    weight_bytes: int = 0

    def add(self, use: str, elements: int) -> None:
        """Add elementwise operations."""
        if elements:
            self.elements[use] = self.elements.get(use, 0) + elements

    def multiply(
        self,
        matrices: Iterable[Matrix],
        streamed: dict[str, int],
        bits: int,
        reads: Fraction,
        times: int = 1,
    ) -> None:
        """Add matrix products that run digitally, `times` of the given ones a token.

        Args:
            matrices: which.
            streamed: bytes of those that are streamed, by matrix id.
            bits: of a weight.
            reads: of each a flight.
            times: of each a token.
        """
        for matrix in matrices:
            self.macs["linear"] = self.macs.get("linear", 0) + times * matrix.size
            self.stream_bytes += ceil(reads * streamed.get(str(matrix.id), 0))
            self.weight_bytes += ceil(reads * stored_bytes(matrix, bits))


@dataclass
class Step:
    """One job and the analog stage after it.

    Attributes:
        layer: decoder layer.
        work: digital operations a token.
        kv_layer: layer whose keys and values the job reads, or -1.
        unit: (part, stage) of the analog stage's unit: attention qkv, attention o, router,
            head; None if there is no such stage.
        moe_layer: index among MoE layers whose routed experts are visited, or -1.
        shared: whether the layer's shared or dense block is visited.
    """

    layer: int
    work: Work = field(default_factory=Work)
    kv_layer: int = NONE
    unit: tuple[str, str] | None = None
    moe_layer: int = NONE
    shared: bool = False

    @property
    def visits(self) -> bool:
        """Whether an analog stage follows the job."""
        return self.unit is not None or self.moe_layer != NONE or self.shared

    @property
    def name(self) -> str:
        """Readable name for messages and traces."""
        if self.unit is not None:
            return f"layer {self.layer} {' '.join(self.unit)}"
        if self.moe_layer != NONE or self.shared:
            return f"layer {self.layer} experts"
        return f"layer {self.layer} digital"


def digital_matrices(program: Program, config: ChipConfig) -> dict[str, int]:
    """Return bytes that each digital matrix streams from DRAM a flight, by matrix id.

    Matrices stay in `digital.weight_sram_kb` in program order while they fit; the others
    are streamed. Without off-chip memory all of them are held on chip.
    """
    parts = set(config.chip.analog_parts)
    units = config.digital.units * config.system.chips
    room = int(config.digital.weight_sram_kb * 1024) * units
    streamed: dict[str, int] = {}
    for matrix in program.matrices():
        if matrix.id.part in parts:
            continue
        size = stored_bytes(matrix, config.tile.weight.bits)
        if size <= room:
            room -= size
        elif config.memory.kind != "none":
            streamed[str(matrix.id)] = size
    return streamed


def stored_bytes(matrix: Matrix, bits: int) -> int:
    """Return the bytes that a matrix takes in a digital memory."""
    return -(-matrix.size * bits // 8)


class _Builder:
    def __init__(
        self,
        program: Program,
        config: ChipConfig,
        correction: CorrectionWork,
        reads: WeightReads,
    ) -> None:
        self.program = program
        self.parts = set(config.chip.analog_parts)
        self.correction = correction
        self.streamed = digital_matrices(program, config)
        self.bits = config.tile.weight.bits
        self.reads = reads
        self.steps: list[Step] = []
        self.work = Work()
        self.kv_layer = NONE
        self.layer = 0

    def close(
        self,
        *,
        unit: tuple[str, str] | None = None,
        moe_layer: int = NONE,
        shared: bool = False,
    ) -> None:
        """End the job collected so far with an analog stage, or with none."""
        self.steps.append(Step(self.layer, self.work, self.kv_layer, unit, moe_layer, shared))
        self.work, self.kv_layer = Work(), NONE

    def multiply(self, matrices: Iterable[Matrix]) -> None:
        """Add products that every token needs."""
        self.work.multiply(matrices, self.streamed, self.bits, self.reads.dense)

    def attention(self, layer: Layer) -> None:
        d_model, program = self.program.d_model, self.program
        self.work.add("norm", d_model)
        if "attention" in self.parts:
            self.close(unit=("attention", "qkv"))
        else:
            qkv = [m for m in layer.attention if m.id.role != "o"]
            self.multiply(qkv)
            self.close()
        self.kv_layer = layer.index
        self.work.add("rope", program.d_attention + program.d_kv)
        if "attention" in self.parts:
            self.close(unit=("attention", "o"))
        else:
            out = [m for m in layer.attention if m.id.role == "o"]
            self.multiply(out)
        self.work.add("combine", d_model)  # residual

    def feed_forward(self, layer: Layer, moe_layer: int) -> None:
        d_model = self.program.d_model
        self.work.add("norm", d_model)
        if layer.router:
            if "router" in self.parts:
                self.close(unit=("router", "all"))
            else:
                self.multiply(layer.router)
            self.work.add("router", sum(m.n_out for m in layer.router))
        if layer.is_moe and (self.correction.macs or self.correction.elements):
            self.work.macs["correction"] = self.correction.macs
            self.work.add("correction", self.correction.elements)
        routed = layer.is_moe and "experts" in self.parts
        shared = bool(layer.shared) and "shared" in self.parts
        if layer.is_moe and not routed:
            streamed = self._streamed_expert(layer)
            reads = self.reads.experts[moe_layer]
            self.work.multiply(layer.experts[0], streamed, self.bits, reads, layer.top_k)
            self.work.add("activation", layer.top_k * _width(layer.experts[0]))
        if layer.shared and not shared:
            self.multiply(layer.shared)
            self.work.add("activation", _width(layer.shared))
        if routed or shared:
            self.close(moe_layer=moe_layer if routed else NONE, shared=shared)
        self.work.add("combine", d_model)  # residual; the sum over experts is in the network

    def _streamed_expert(self, layer: Layer) -> dict[str, int]:
        """Bytes of a digital expert: streamed if any expert of the layer is."""
        sizes: dict[str, int] = {}
        for matrix in layer.experts[0]:
            role = matrix.id.role
            sizes[str(matrix.id)] = max(
                self.streamed.get(str(m.id), 0)
                for e in layer.experts
                for m in e
                if m.id.role == role
            )
        return sizes


def build_steps(
    program: Program, config: ChipConfig, correction: CorrectionWork, reads: WeightReads
) -> list[Step]:
    """Return the steps of one flight, embedding to head.

    Args:
        program: the decoder.
        config: says which parts are analog.
        correction: what a calibration adds in every MoE layer.
        reads: how often the weights of digital matrices are read.
    """
    builder = _Builder(program, config, correction, reads)
    builder.work.add("embedding", program.d_model)
    moe = 0
    for layer in program.layers:
        builder.layer = layer.index
        builder.attention(layer)
        builder.feed_forward(layer, moe if layer.is_moe else NONE)
        moe += layer.is_moe
    builder.layer = len(program.layers)
    builder.work.add("norm", program.d_model)
    if "head" in builder.parts:
        builder.close(unit=("head", "all"))
    else:
        builder.multiply([program.head])
    builder.close()
    return builder.steps


def _width(matrices: tuple[Matrix, ...]) -> int:
    """Return the hidden width of a gated block."""
    return next(m.n_out for m in matrices if not m.id.role.endswith("down"))
