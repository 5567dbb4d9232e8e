"""The program of a workload that a shape file describes.

A decoder is listed in the blocks of `cimsim.workload.blocks`: attention opens a layer, and a
feed-forward block or mixture right after it ends it. Every product is a layer of its own. A
convolution is the product of its patches (im2col): rows kernel x kernel x channels in, a vector
for every output pixel, ceil(size / stride) a side; its feature map is sent once, and the tile's
buffer repeats what patches share.
"""

from __future__ import annotations

from cimsim.config.section_file import SectionFile
from cimsim.config.shape import (
    AnyOperation,
    AttentionShape,
    ConvolutionShape,
    ElementsShape,
    EmbedShape,
    FeedForwardShape,
    HeadShape,
    MixtureShape,
    ProductShape,
    RepeatShape,
    WorkloadShape,
)
from cimsim.config.yaml_tree import Path_
from cimsim.workload.blocks import Blocks, Mixture
from cimsim.workload.heads import Heads
from cimsim.workload.matrix import Matrix, MatrixId
from cimsim.workload.operations import Elements, Multiply, Operation
from cimsim.workload.program import NO_HEADS, Program

__all__ = ["described_program"]

MOST_OPERATIONS = 4096
"""Of a program; the largest decoders have a thousand blocks."""


def described_program(file: SectionFile[WorkloadShape]) -> Program:
    """Return the program of a shape.

    Raises:
        CimsimError: if a block of a decoder stands where none can, or nothing is multiplied.
    """
    builder = _Builder(file)
    for i, entry in enumerate(file.section.operations):
        builder.take(("operations", i), entry)
    if not any(o.matrices for o in builder.operations):
        raise file.refusal("holds no matrix", ("operations",), "at least one product or block")
    return Program(file.section.name, tuple(builder.operations))


class _Builder:
    """Takes entries of the list in order, and counts layers."""

    def __init__(self, file: SectionFile[WorkloadShape]) -> None:
        self.operations: list[Operation] = []
        self._refusal = file.refusal
        self._heads = _first_heads(file.section.operations)
        self._routed: tuple[int, int] | None = None
        self._blocks: Blocks | None = None
        self._layer = -1
        self._open = False  # whether the layer has attention and may take a block
        self._ended = False

    def take(self, at: Path_, entry: AnyOperation) -> None:
        """Add an entry that stands at a path of the file."""
        if len(self.operations) > MOST_OPERATIONS:
            raise self._refusal("repeats too much", at, f"{MOST_OPERATIONS} operations in all")
        if self._ended:
            raise self._refusal("stands after the head", at, "head as the last operation")
        match entry:
            case RepeatShape():
                for _ in range(entry.times):
                    for i, inner in enumerate(entry.operations):
                        self.take((*at, "operations", i), inner)
            case EmbedShape():
                if self.operations:
                    raise self._refusal("is not the first operation", at, "one embed, the first")
                self._blocks = Blocks(entry.vocabulary, entry.width, self._heads)
                self.operations.append(self._blocks.embed())
            case ProductShape() | ConvolutionShape():
                self._product(entry)
            case ElementsShape():
                self.operations.append(Elements(max(0, self._layer), entry.use, entry.count))
            case _:
                self._block(at, entry)

    def _product(self, entry: ProductShape | ConvolutionShape) -> None:
        self._layer, self._open = self._layer + 1, False
        name = MatrixId(self._layer, "product")
        if isinstance(entry, ProductShape):
            weight = Matrix(name, entry.inputs, entry.outputs, entry.vectors)
            sent = entry.vectors * entry.inputs
        else:
            channels, (height, width) = entry.channels, entry.size
            pixels = -(-height // entry.stride) * -(-width // entry.stride)
            weight = Matrix(name, entry.kernel**2 * channels[0], channels[1], pixels)
            sent = channels[0] * height * width
        self.operations.append(Multiply(self._layer, weight, sent))

    def _block(
        self, at: Path_, entry: AttentionShape | FeedForwardShape | MixtureShape | HeadShape
    ) -> None:
        """Add a block of a decoder."""
        blocks = self._blocks
        if blocks is None:
            raise self._refusal("has no residual stream", at, "embed as the first operation")
        if isinstance(entry, HeadShape):
            self._ended = True
            self.operations += blocks.head(self._layer + 1)
            return
        if isinstance(entry, AttentionShape):
            if entry.heads % (entry.kv_heads or entry.heads):
                raise self._refusal(
                    "has key heads that don't divide its heads", at, f"divisors of {entry.heads}"
                )
            if _heads_of(entry) != blocks.heads:
                raise self._refusal("has other heads than the first", at, "the same in all layers")
            self._layer, self._open = self._layer + 1, True
            self.operations += blocks.attention(self._layer)
            return
        self._layer += not self._open
        self._open = False
        if isinstance(entry, FeedForwardShape):
            self.operations += blocks.dense(self._layer, entry.hidden)
        else:
            self.operations += blocks.mixture(self._layer, self._mixture(at, entry))

    def _mixture(self, at: Path_, entry: MixtureShape) -> Mixture:
        if entry.top_k > entry.experts:
            raise self._refusal(
                "chooses more experts than there are", at, f"top_k up to {entry.experts}"
            )
        routed = (entry.experts, entry.top_k)
        if self._routed not in {None, routed}:
            raise self._refusal(
                "has other experts or top_k than the first mixture", at, "the same in all layers"
            )
        self._routed = routed
        gated = entry.shared_gate == "sigmoid"
        return Mixture(*routed, entry.hidden, entry.shared_hidden, gated)


def _first_heads(entries: tuple[AnyOperation, ...]) -> Heads:
    """Return the heads of the first attention of a list; none where nothing attends."""
    for entry in entries:
        if isinstance(entry, AttentionShape):
            return _heads_of(entry)
        if isinstance(entry, RepeatShape) and (inner := _first_heads(entry.operations)) != NO_HEADS:
            return inner
    return NO_HEADS


def _heads_of(entry: AttentionShape) -> Heads:
    return Heads(entry.heads, entry.kv_heads or entry.heads, entry.head_dim)
