"""A workload by its shape: matrices and operations of one token, without weights.

A token is whatever the model takes at once: a word of a decoder, a frame of an LSTM, an image of
a convolutional network. Operations stand in order; each waits for the one before it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.config.bounds import SHAPE_COUNT, SHAPE_WIDTH
from cimsim.config.section import Section, knob

__all__ = [
    "AnyOperation", "AttentionShape", "ConvolutionShape", "ElementsShape", "EmbedShape",
    "FeedForwardShape", "HeadShape", "MixtureShape", "ProductShape", "RepeatShape", "WorkloadShape",
]  # fmt: skip


class EmbedShape(Section):
    """The residual stream of a decoder begins: a row of a table for every token."""

    kind: Literal["embed"]
    vocabulary: int = knob(..., "Rows of the table.", within=SHAPE_COUNT)
    width: int = knob(..., "Width of the residual stream.", within=SHAPE_WIDTH)


class AttentionShape(Section):
    """Norm, projections q, k, v and o, rotary positions, softmax attention to all before."""

    kind: Literal["attention"]
    heads: int = knob(..., "Query heads.", within=SHAPE_WIDTH)
    kv_heads: int | None = knob(
        None, "Key and value heads; null means as many as query heads.", within=SHAPE_WIDTH
    )
    head_dim: int = knob(..., "Width of a head.", within=SHAPE_WIDTH)


class FeedForwardShape(Section):
    """Norm and a dense block down(silu(gate(x)) * up(x))."""

    kind: Literal["feed_forward"]
    hidden: int = knob(..., "Hidden width.", within=SHAPE_WIDTH)


class MixtureShape(Section):
    """Norm, router and a mixture of experts, each down(silu(gate(x)) * up(x))."""

    kind: Literal["mixture"]
    experts: int = knob(..., "Routed experts.", ge=2, le=1024)
    top_k: int = knob(..., "Experts chosen per token.", ge=1, le=1024)
    hidden: int = knob(..., "Hidden width of a routed expert.", within=SHAPE_WIDTH)
    shared_hidden: int = knob(
        0, "Hidden width of the shared experts together, 0 for none.", ge=0, within=SHAPE_WIDTH
    )
    shared_gate: Literal["none", "sigmoid"] = knob(
        "none", "Whether a sigmoid gate scales the shared experts."
    )


class HeadShape(Section):
    """Norm and logits over the vocabulary: the end of a decoder."""

    kind: Literal["head"]


class ProductShape(Section):
    """A matrix product: a dense layer, or the four gates of an LSTM in one matrix."""

    kind: Literal["product"]
    inputs: int = knob(..., "Inputs of a vector: rows.", within=SHAPE_WIDTH)
    outputs: int = knob(..., "Outputs of a vector: columns.", within=SHAPE_WIDTH)
    vectors: int = knob(1, "Vectors of one token, one after the other.", within=SHAPE_COUNT)


class ConvolutionShape(Section):
    """A convolution as a product: a vector for every output pixel, padded to the same size."""

    kind: Literal["convolution"]
    channels: tuple[
        Annotated[int, Field(ge=SHAPE_WIDTH.least, le=SHAPE_WIDTH.most)],
        Annotated[int, Field(ge=SHAPE_WIDTH.least, le=SHAPE_WIDTH.most)],
    ] = Field(
        description="Channels in and out.",
        json_schema_extra={"unit": "1", "reason": SHAPE_WIDTH.why},
    )
    size: tuple[
        Annotated[int, Field(ge=SHAPE_WIDTH.least, le=SHAPE_WIDTH.most)],
        Annotated[int, Field(ge=SHAPE_WIDTH.least, le=SHAPE_WIDTH.most)],
    ] = Field(
        description="Height and width of the feature map that comes in.",
        json_schema_extra={"unit": "pixel", "reason": SHAPE_WIDTH.why},
    )
    kernel: int = knob(3, "Height and width of the kernel.", unit="pixel", ge=1, le=64)
    stride: int = knob(1, "Pixels between two positions of the kernel.", unit="pixel", ge=1, le=64)


class ElementsShape(Section):
    """Elementwise digital operations: of activations, residual sums, norms or softmax."""

    kind: Literal["elements"]
    use: Literal["activation", "combine", "norm", "softmax"] = knob(
        ..., "What is done to each: a look-up and two products, a sum, a norm, a softmax."
    )
    count: int = knob(..., "Elements of one token.", within=SHAPE_COUNT)


class RepeatShape(Section):
    """Operations several times in a row, each time with weights of their own."""

    kind: Literal["repeat"]
    times: int = knob(..., "How often.", ge=1, le=1024)
    operations: tuple[AnyOperation, ...] = Field(
        min_length=1, description="What is repeated.", json_schema_extra={"unit": "1"}
    )


AnyOperation = Annotated[
    EmbedShape
    | AttentionShape
    | FeedForwardShape
    | MixtureShape
    | HeadShape
    | ProductShape
    | ConvolutionShape
    | ElementsShape
    | RepeatShape,
    Field(discriminator="kind"),
]
"""One entry of the list."""


class WorkloadShape(Section):
    """A model as its list of operations."""

    shape: Literal[1] = knob(..., "Format of the file.")
    name: str = knob(..., "Name of the model; that of the file if left out.")
    source: str = knob("", "Where the dimensions come from.")
    operations: tuple[AnyOperation, ...] = Field(
        min_length=1,
        description="Operations of one token in order.",
        json_schema_extra={"unit": "1"},
    )
