"""A group of tokens on its way through the decoder, one stage at a time.

Stages of a layer, in order: qkv (projections), attend (scores and mixing), out (output
projection), router, experts (routed, shared or dense block); after the last layer the head.
A stage is *served* if tiles compute it: its inputs are prepared, then each visit computes
the rows that it holds, when it is served; or it is computed as a whole, digitally. Rows do
not depend on each other, so that results have the bytes of a pass over all tokens at once.

Tokens of one stream attend to each other: `StreamMemory` stores keys and values in order of
position whenever a walk attends, also those of earlier walks that have not attended yet.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.model.architecture import Architecture
from cimsim.model.cache import KVCache
from cimsim.model.kernels.rows import (
    add_weighted_rows,
    negative_log_likelihood,
    scale_rows_by_sigmoid,
)
from cimsim.model.routing import Routing
from cimsim.model.stepper import Stepper
from cimsim.workload.program import TokenKeys

__all__ = ["Stage", "StreamMemory", "Walk"]

Array = NDArray[np.float32]
Rows = NDArray[np.int64]
NOTHING = np.zeros((0, 0), dtype=np.float32)


class Stage(IntEnum):
    """Stages of a layer; the head is stage QKV of the layer after the last."""

    QKV = 0
    ATTEND = 1
    OUT = 2
    ROUTER = 3
    EXPERTS = 4


class StreamMemory:
    """Keys and values of one stream of walks.

    Args:
        cache: holds the stream's sequence.
        layers: decoder layers.
    """

    def __init__(self, cache: KVCache, layers: int) -> None:
        self.cache = cache
        self.walks: list[Walk] = []
        self._stored = [0] * layers

    def store(self, layer: int, walk: Walk) -> None:
        """Store keys and values of a walk and of all walks before it, in order."""
        while self._stored[layer] < len(self.walks):
            other = self.walks[self._stored[layer]]
            if other.first > walk.first:
                return
            k, v = other.keys_values(layer)
            self.cache.append(layer, self.cache.slots(other.keys), other.keys.position, k, v)
            self._stored[layer] += 1


class Walk:
    """Tokens of one flight.

    Args:
        stepper: the decoder joined to its products.
        architecture: of the decoder.
        ids: int64 [n], the tokens.
        following: int64 [n], the token after each; -1 where it is not scored.
        keys: addresses of the tokens.
        memory: keys and values of the stream; the walk is added to it.
        served: parts of the model that tiles compute.

    Attributes:
        first: position of the first token.
        routings: of the MoE layers passed so far.
        nll: float64 [n], -log p of the following token in nats; NaN where it is not scored.
    """

    def __init__(
        self,
        stepper: Stepper,
        architecture: Architecture,
        ids: NDArray[np.int64],
        following: NDArray[np.int64],
        keys: TokenKeys,
        memory: StreamMemory,
        served: frozenset[str],
    ) -> None:
        self.keys = keys
        self.first = int(keys.position[0])
        self.routings: list[Routing] = []
        self.nll = np.full(len(ids), np.nan)
        self._stepper, self._architecture = stepper, architecture
        self._following, self._memory, self._served = following, memory, served
        self._x = stepper.embed(ids)
        self._all = np.arange(len(ids), dtype=np.int64)
        self._layer, self._stage = 0, Stage.QKV
        self._waits = False
        self._in = self._out = self._logits = self._gate = self._shared = NOTHING
        self._qkv: tuple[Array, Array, Array] = (NOTHING, NOTHING, NOTHING)
        self._heads: tuple[Array, Array, Array] | None = None
        self._expert_out = np.zeros((0, 0, 0), dtype=np.float32)
        memory.walks.append(self)

    def advance(self, layer: int, stage: Stage, *, visited: bool) -> None:
        """End the stage that was served and compute what lies before another one.

        Args:
            layer: of the stage that comes next; the number of layers for the head, one more
                for the end.
            stage: which.
            visited: whether tiles serve it: its inputs are prepared.
        """
        if self._waits:
            self._end()
        while (self._layer, self._stage) < (layer, stage):
            self._begin()
            self._compute(frozenset())
            self._end()
        if (self._layer, self._stage) != (layer, stage):
            raise CimsimInternalError("a flight goes back to a stage that it has passed")
        if visited:
            self._begin()
            self._waits = True
            self._compute(self._served)

    def serve(self, part: str, rows: Rows, expert: int = -1) -> None:
        """Compute some rows of the stage that waits.

        Args:
            part: of the model; `experts` and `shared` are both parts of stage experts.
            rows: int64, rising.
            expert: which, for part `experts`.
        """
        keys, layer, stage = self.keys.take(rows), self._layer, self._stage
        step = self._stepper
        if self._is_head:
            self._score(rows)
        elif stage == Stage.QKV:
            found = step.query_key_value(layer, self._in[rows], keys)
            for whole, some in zip(self._qkv, found, strict=True):
                whole[rows] = some
        elif stage == Stage.OUT:
            self._out[rows] = step.attention_output(layer, self._in[rows], keys)
        elif stage == Stage.ROUTER:
            self._logits[rows] = step.router_logits(layer, self._in[rows], keys)
            if self._gate.size:
                self._gate[rows] = step.shared_logit(layer, self._in[rows], keys)
        elif part == "shared":
            self._shared[rows] = step.shared_product(layer, self._in[rows], keys)
        else:
            rank = np.argmax(self.routings[-1].experts[rows] == expert, axis=1)
            self._expert_out[rows, rank] = step.expert_visit(layer, expert, self._in[rows], keys)

    def keys_values(self, layer: int) -> tuple[Array, Array]:
        """Return rotated keys and values of the layer whose projections are done."""
        if layer != self._layer:
            raise CimsimInternalError("a walk is asked for keys of a layer where it is not")
        if self._heads is None:
            self._heads = self._stepper.heads(layer, *self._qkv, self.keys)
        return self._heads[1:]

    @property
    def _is_head(self) -> bool:
        return self._layer == self._architecture.n_layers

    def _begin(self) -> None:
        """Prepare the inputs and make room for the outputs of the current stage."""
        if self._is_head:
            return
        shape, step = self._architecture, self._stepper
        block, n = shape.blocks[self._layer], len(self._x)
        if self._stage == Stage.QKV:
            self._in = step.attention_input(self._layer, self._x)
            widths = (shape.n_heads, shape.n_kv_heads, shape.n_kv_heads)
            q, k, v = (np.empty((n, w * shape.head_dim), dtype=np.float32) for w in widths)
            self._qkv, self._heads = (q, k, v), None
        elif self._stage == Stage.OUT:
            self._out = np.empty_like(self._x)
        elif self._stage == Stage.ROUTER:
            self._in = step.block_input(self._layer, self._x)
            self._logits = np.empty((n, block.n_experts), dtype=np.float32)
            self._gate = np.empty((n, int(block.shared_gate)), dtype=np.float32)
        elif self._stage == Stage.EXPERTS:
            width = self._x.shape[1]
            self._expert_out = np.empty((n, block.top_k, width), dtype=np.float32)
            self._shared = np.empty((n, width if block.shared_width else 0), dtype=np.float32)

    def _compute(self, served: frozenset[str]) -> None:
        """Compute the parts of the current stage that no tile serves."""
        if self._is_head:
            if "head" not in served:
                self._score(self._all)
            return
        block = self._architecture.blocks[self._layer]
        if self._stage in {Stage.QKV, Stage.OUT} and "attention" not in served:
            self.serve("attention", self._all)
        elif self._stage == Stage.ATTEND:
            self._attend()
        elif self._stage == Stage.ROUTER and block.is_moe and "router" not in served:
            self.serve("router", self._all)
        elif self._stage == Stage.EXPERTS:
            if block.is_moe and "experts" not in served:
                experts = self.routings[-1].experts
                for expert in np.unique(experts).tolist():
                    rows = np.flatnonzero((experts == expert).any(axis=1))
                    self.serve("experts", rows, expert)
            if block.shared_width and "shared" not in served:
                self.serve("shared", self._all)

    def _end(self) -> None:
        """Take over the outputs of the current stage and go to the next one."""
        self._waits = False
        if self._is_head:
            self._layer += 1
            return
        if self._stage == Stage.OUT:
            self._x = self._x + self._out
        elif self._stage == Stage.ROUTER and self._architecture.blocks[self._layer].is_moe:
            self.routings.append(self._stepper.choose(self._layer, self._logits, self.keys))
        elif self._stage == Stage.EXPERTS:
            self._x = self._x + self._combined()
        last = self._stage == Stage.EXPERTS
        self._layer, self._stage = (
            (self._layer + 1, Stage.QKV) if last else (self._layer, Stage(self._stage + 1))
        )

    def _attend(self) -> None:
        self._memory.store(self._layer, self)
        if self._heads is None:
            raise CimsimInternalError("a walk attends before its keys are there")
        self._in = self._stepper.attend(self._layer, self._heads[0], self.keys, self._memory.cache)

    def _combined(self) -> Array:
        """Return the weighted sum over experts, in rising order, and the shared block."""
        block = self._architecture.blocks[self._layer]
        output = np.zeros_like(self._x)
        if block.is_moe:
            routing = self.routings[-1]
            for expert in np.unique(routing.experts).tolist():
                rows, rank = np.nonzero(routing.experts == expert)
                y = self._expert_out[rows, rank]
                add_weighted_rows(output, rows, routing.gates[rows, rank], y)
        if not block.shared_width:
            return output
        y = self._shared
        if block.shared_gate:
            y = scale_rows_by_sigmoid(y, self._gate)
        return output + y if block.is_moe else y

    def _score(self, rows: Rows) -> None:
        """Evaluate the head where the following token is scored."""
        rows = rows[self._following[rows] >= 0]
        if len(rows):
            logits = self._stepper.finish(self._x[rows], self.keys.take(rows))
            self.nll[rows] = negative_log_likelihood(logits, self._following[rows])
