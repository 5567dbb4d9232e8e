"""Steps of a flight through a model: a digital job, then perhaps a visit to tiles.

A step is one job on the flight's digital unit followed by at most one analog stage. Which
operations share a job follows from which parts of the model are analog: everything digital
between two analog stages is one job. The step that reads keys and values first waits until
the earlier flights of its sequence have written theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil

from cimsim.config import ChipConfig
from cimsim.cost.input_scale import scaled_elements
from cimsim.engine.weight_reads import WeightReads
from cimsim.workload.latent import ProjectByHead, RotateLatent
from cimsim.workload.matrix import Matrix
from cimsim.workload.operations import (
    Experts,
    Head,
    Multiply,
    Operation,
    Project,
    Rotate,
    Route,
)
from cimsim.workload.program import Program

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
        stream_bytes: weights streamed from DRAM per flight, in the mean over flights.
        weight_bytes: weights read from the units' weight memory per flight, in the mean;
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
        """Add matrix products that run digitally, `times` of the given ones per token.

        Args:
            matrices: which.
            streamed: bytes of those that are streamed, by matrix id.
            bits: of a weight.
            reads: of each per flight.
            times: of each a token.
        """
        for matrix in matrices:
            self.macs["linear"] = self.macs.get("linear", 0) + times * matrix.macs
            self.stream_bytes += ceil(reads * streamed.get(str(matrix.id), 0))
            self.weight_bytes += ceil(reads * stored_bytes(matrix, bits))


@dataclass
class Step:
    """One job and the analog stage after it.

    Attributes:
        layer: decoder layer.
        operation: index of the program's operation that its visits serve, or that comes next.
        work: digital operations per token.
        kv_layer: layer whose keys and values the job reads, or -1.
        unit: (part, stage) of the analog stage's unit: attention with a stage of its
            projections, router, head, a product alone; None if there is no such stage.
        moe_layer: index among MoE layers whose routed experts are visited, or -1.
        shared: whether the layer's shared or dense block is visited.
    """

    layer: int
    operation: int
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
    """Return bytes that each digital matrix streams from DRAM per flight, by matrix id.

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


class _StepBuilder:
    """Takes the operations of a program in order, and cuts them into steps."""

    def __init__(
        self,
        program: Program,
        config: ChipConfig,
        correction: CorrectionWork,
        reads: WeightReads,
    ) -> None:
        self.parts = set(config.chip.analog_parts)
        self.correction = correction
        self.streamed = digital_matrices(program, config)
        self.bits = config.tile.weight.bits
        self.reads = reads
        self.scaled = partial(scaled_elements, config)
        self.is_scaled = False  # whether the inputs of products at hand are codes already
        self.steps: list[Step] = []
        self.work = Work()
        self.kv_layer = NONE
        self.moe_layers = 0

    def close(
        self,
        layer: int,
        operation: int,
        *,
        unit: tuple[str, str] | None = None,
        moe_layer: int = NONE,
        shared: bool = False,
    ) -> None:
        """End the job collected so far with an analog stage, or with none."""
        self.steps.append(Step(layer, operation, self.work, self.kv_layer, unit, moe_layer, shared))
        self.work, self.kv_layer = Work(), NONE

    def scale(self, inputs: int, vectors: int = 1) -> None:
        """Add what brings inputs to codes that go to tiles, once for all matrices they go to."""
        if not self.is_scaled:
            for use, count in self.scaled(inputs, vectors).items():
                self.work.add(use, count)
        self.is_scaled = True

    def take(self, index: int, operation: Operation) -> None:
        """Add an operation to the job, or end the job with it."""
        match operation:
            case Project():
                self.product(index, operation, ("attention", operation.stage))
            case Rotate() | RotateLatent():
                if self.work != Work():
                    # Keys and values are there: flights wait for each other's.
                    self.close(operation.layer, index)
                self.kv_layer = operation.layer
            case Route():
                self.product(index, operation, ("router", "all"))
            case Experts():
                self.experts(index, operation)
                return
            case Head():
                self.product(index, operation, ("head", "all"))
            case Multiply():
                self.product(index, operation, ("shared", "all"))
        for use, count in operation.elements.items():
            self.work.add(use, count)
        # Experts take the inputs that a router took; all else makes or takes others.
        self.is_scaled = self.is_scaled and isinstance(operation, Route)
        if isinstance(operation, Route) and (self.correction.macs or self.correction.elements):
            self.work.macs["correction"] = self.correction.macs
            self.work.add("correction", self.correction.elements)

    def product(self, index: int, operation: Operation, unit: tuple[str, str]) -> None:
        """Let tiles compute products that every token needs, or add them to the job."""
        if unit[0] in self.parts:
            self.scale(*_inputs_of(operation))
            self.close(operation.layer, index, unit=unit)
        else:
            self.work.multiply(operation.matrices, self.streamed, self.bits, self.reads.dense)

    def experts(self, index: int, block: Experts) -> None:
        """Add the digital part of a feed-forward block, and let tiles compute the other."""
        routed = bool(block.experts) and "experts" in self.parts
        shared = bool(block.shared) and "shared" in self.parts
        moe_layer = self.moe_layers if block.experts else NONE
        self.moe_layers += bool(block.experts)
        if block.experts and not routed:
            streamed = self._streamed_expert(block)
            reads = self.reads.experts[moe_layer]
            self.work.multiply(block.experts[0], streamed, self.bits, reads, block.top_k)
            self.work.add("activation", block.routed_width)
        if block.shared and not shared:
            self.work.multiply(block.shared, self.streamed, self.bits, self.reads.dense)
            self.work.add("activation", block.shared_width)
        if routed or shared:
            first = block.experts[0][0] if routed else block.shared[0]
            self.scale(first.n_in)
            self.is_scaled = False
            moe_layer = moe_layer if routed else NONE
            self.close(block.layer, index, moe_layer=moe_layer, shared=shared)

    def _streamed_expert(self, block: Experts) -> dict[str, int]:
        """Bytes of a digital expert: streamed if any expert of the layer is."""
        return {
            str(same[0].id): max(self.streamed.get(str(m.id), 0) for m in same)
            for same in zip(*block.experts, strict=True)
        }


def _inputs_of(operation: Operation) -> tuple[int, int]:
    """Return the inputs that a token brings to products, and how many vectors have a scale."""
    match operation:
        case ProjectByHead():
            return operation.n_in, len(operation.weights)
        case Multiply():
            return operation.sent, 1
    return operation.matrices[0].n_in, 1


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
    builder = _StepBuilder(program, config, correction, reads)
    for index, operation in enumerate(program.operations):
        builder.take(index, operation)
    builder.close(len(program.layers), len(program.operations))
    return builder.steps
