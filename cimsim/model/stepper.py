"""The decoder one step at a time, so that an engine can drive it layer by layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.model.cache import KVCache
from cimsim.model.correction import Correction
from cimsim.model.kernels.attention import attend, rotate
from cimsim.model.kernels.rows import (
    add_weighted_rows,
    rms_norm,
    scale_rows_by_sigmoid,
    swiglu,
)
from cimsim.model.linear import Linear
from cimsim.model.observer import Observer
from cimsim.model.parameters import Parameters
from cimsim.model.routing import Routing, route_logits
from cimsim.workload.program import NO_EXPERT, MatrixId, TokenKeys

__all__ = ["Stepper"]

Array = NDArray[np.float32]


class Stepper:
    """One decoder joined to one `Linear`, in steps on batches of token rows.

    The steps of a batch are embed; then for each layer attention, route, experts; then
    finish. Each of them is also there in its parts, one a stage of an engine: `Walk` drives
    those. Batches may be cut in any way that keeps each sequence's positions in order
    within a layer: the rows' results do not depend on the cut. Steps keep no state but the
    cache that the caller passes, so several threads may use one stepper.

    Args:
        parameters: the decoder's digital parameters.
        linear: evaluates the matrix products.
        correction: what calibration changed, already applied to `linear` where it
            concerns matrix outputs.
        observer: sees the signals.
    """

    def __init__(
        self,
        parameters: Parameters,
        linear: Linear,
        correction: Correction | None,
        observer: Observer | None,
    ) -> None:
        self._parameters = parameters
        self._architecture = parameters.architecture
        self._linear = linear
        self._correction = correction
        self._observer = observer or Observer()

    def embed(self, token_ids: NDArray[np.int64]) -> Array:
        """Return the embeddings of tokens int64 [n], float32 [n, d_model]."""
        return self._parameters.embedding[token_ids]

    def attention(self, layer: int, x: Array, tokens: TokenKeys, cache: KVCache) -> Array:
        """Return x plus the attention block's output, float32 [n, d_model].

        Args:
            layer: decoder layer.
            x: float32 [n, d_model], the residual stream.
            tokens: addresses of the n rows.
            cache: keys and values of the rows' sequences; the rows' own are added.
        """
        normed = self.attention_input(layer, x)
        q, k, v = self.heads(layer, *self.query_key_value(layer, normed, tokens), tokens)
        cache.append(layer, cache.slots(tokens), tokens.position, k, v)
        mixed = self.attend(layer, q, tokens, cache)
        output = self.attention_output(layer, mixed, tokens)
        self._observer.attention(layer, tokens, normed, output)
        return x + output

    def attention_input(self, layer: int, x: Array) -> Array:
        """Return the attention block's normed inputs, float32 [n, d_model]."""
        gain = self._parameters.layers[layer].attention_norm
        return rms_norm(x, gain, self._architecture.norm_eps)

    def query_key_value(
        self, layer: int, normed: Array, tokens: TokenKeys
    ) -> tuple[Array, Array, Array]:
        """Return the projections q [n, d_attention], k and v [n, d_kv]."""
        q, k, v = (self._projection(layer, role, normed, tokens) for role in "qkv")
        return q, k, v

    def heads(
        self, layer: int, q: Array, k: Array, v: Array, tokens: TokenKeys
    ) -> tuple[Array, Array, Array]:
        """Return projections normed, clipped, cut into heads and rotated, [n, heads, width]."""
        shape, parameters = self._architecture, self._parameters
        weights = parameters.layers[layer]
        if weights.q_norm is not None and weights.k_norm is not None:
            q = rms_norm(q, weights.q_norm, shape.norm_eps)
            k = rms_norm(k, weights.k_norm, shape.norm_eps)
        if shape.clip_qkv is not None:
            bound = np.float32(shape.clip_qkv)
            q, k, v = (np.clip(a, -bound, bound) for a in (q, k, v))
        n = q.shape[0]
        # Copies, because rotation works in place and a Linear may keep its outputs.
        q = q.reshape(n, shape.n_heads, shape.head_dim).copy()
        k, v = (a.reshape(n, shape.n_kv_heads, shape.head_dim).copy() for a in (k, v))
        for heads in (q, k):
            rotate(heads, tokens.position, parameters.cos, parameters.sin)
        return q, k, v

    def attend(self, layer: int, q: Array, tokens: TokenKeys, cache: KVCache) -> Array:
        """Return the mixed values of rows whose keys are in the cache, [n, d_attention]."""
        keys, values = cache.arrays(layer)
        mixed = np.empty_like(q)
        attend(q, cache.slots(tokens), tokens.position, keys, values, mixed)
        return mixed.reshape(q.shape[0], -1)

    def attention_output(self, layer: int, mixed: Array, tokens: TokenKeys) -> Array:
        """Return the output projection of mixed values, float32 [n, d_model]."""
        return self._projection(layer, "o", mixed, tokens)

    def route(
        self, layer: int, x: Array, tokens: TokenKeys, forced: Routing | None = None
    ) -> tuple[Array, Routing]:
        """Return the block's normed inputs [n, d_model] and where its tokens go.

        Args:
            layer: decoder layer; a dense one gives an empty routing.
            x: float32 [n, d_model].
            tokens: addresses of the n rows.
            forced: a routing to use instead of the router's, which then is not evaluated.
        """
        normed = self.block_input(layer, x)
        if not self._architecture.blocks[layer].is_moe:
            none = np.zeros((x.shape[0], 0), dtype=np.float32)
            return normed, Routing(none.astype(np.int16), none, none)
        if forced is not None:
            return normed, forced
        logits = self.router_logits(layer, normed, tokens)
        self._observer.router(layer, tokens, normed, logits)
        routing = self.choose(layer, logits, tokens)
        self._observer.routing(layer, tokens, routing)
        return normed, routing

    def block_input(self, layer: int, x: Array) -> Array:
        """Return the normed inputs of a dense or expert block, float32 [n, d_model]."""
        gain = self._parameters.layers[layer].block_norm
        return rms_norm(x, gain, self._architecture.norm_eps)

    def router_logits(self, layer: int, normed: Array, tokens: TokenKeys) -> Array:
        """Return the logits of a layer's router before correction, float32 [n, experts]."""
        return self._product(MatrixId(layer, "router"), normed, tokens)

    def choose(self, layer: int, logits: Array, tokens: TokenKeys) -> Routing:
        """Return the routing that follows from a layer's router logits."""
        correction = None if self._correction is None else self._correction.router(layer)
        return route_logits(logits, tokens, self._architecture.blocks[layer], correction)

    def experts(
        self, layer: int, x: Array, normed: Array, routing: Routing, tokens: TokenKeys
    ) -> Array:
        """Return x plus the output of a dense or expert block, float32 [n, d_model].

        Args:
            layer: decoder layer.
            x: float32 [n, d_model], the residual stream.
            normed: float32 [n, d_model], from `route`.
            routing: from `route`.
            tokens: addresses of the n rows.
        """
        block = self._architecture.blocks[layer]
        output = np.zeros_like(x)
        for expert in range(block.n_experts):
            rows, rank = np.nonzero(routing.experts == expert)
            if rows.size:
                y = self.expert_visit(layer, expert, normed[rows], tokens.take(rows))
                # Experts in ascending order: a token's sum has one order in every batch.
                add_weighted_rows(output, rows, routing.gates[rows, rank], y)
        if block.shared_width:
            y = self.shared_visit(layer, normed, tokens)
            output = output + y if block.is_moe else y
        self._observer.feed_forward(layer, tokens, normed, output)
        return x + output

    def expert_visit(self, layer: int, expert: int, x: Array, tokens: TokenKeys) -> Array:
        """Return one routed expert's output for its group of tokens, float32 [n, d_model]."""
        return self._swiglu(layer, "", expert, x, tokens)

    def shared_visit(self, layer: int, x: Array, tokens: TokenKeys) -> Array:
        """Return the output of the shared experts or of the dense block, gated if it is."""
        y = self.shared_product(layer, x, tokens)
        if not self._architecture.blocks[layer].shared_gate:
            return y
        return scale_rows_by_sigmoid(y, self.shared_logit(layer, x, tokens))

    def shared_product(self, layer: int, x: Array, tokens: TokenKeys) -> Array:
        """Return the shared experts' or dense block's output before its gate, [n, d_model]."""
        prefix = "shared_" if self._architecture.blocks[layer].is_moe else "dense_"
        return self._swiglu(layer, prefix, NO_EXPERT, x, tokens)

    def shared_logit(self, layer: int, x: Array, tokens: TokenKeys) -> Array:
        """Return the logit of the gate of the shared experts, float32 [n, 1]."""
        return self._product(MatrixId(layer, "shared_router"), x, tokens)

    def finish(self, x: Array, tokens: TokenKeys) -> Array:
        """Return the logits of rows of the residual stream, float32 [n, vocab]."""
        normed = rms_norm(x, self._parameters.final_norm, self._architecture.norm_eps)
        return self._product(MatrixId(self._architecture.n_layers, "head"), normed, tokens)

    def _swiglu(self, layer: int, prefix: str, expert: int, x: Array, tokens: TokenKeys) -> Array:
        gate = self._product(MatrixId(layer, f"{prefix}gate", expert), x, tokens)
        up = self._product(MatrixId(layer, f"{prefix}up", expert), x, tokens)
        return self._product(MatrixId(layer, f"{prefix}down", expert), swiglu(gate, up), tokens)

    def _projection(self, layer: int, role: str, x: Array, tokens: TokenKeys) -> Array:
        y = self._product(MatrixId(layer, role), x, tokens)
        bias = self._parameters.layers[layer].bias.get(role)
        return y if bias is None else y + bias

    def _product(self, matrix: MatrixId, x: Array, tokens: TokenKeys) -> Array:
        y = self._linear(matrix, x, tokens)
        if y.shape[0] != x.shape[0] or y.dtype != np.float32:
            raise CimsimInternalError(f"the product {matrix} came back as {y.dtype} {y.shape}")
        if not np.isfinite(y).all():
            raise CimsimInternalError(f"the product {matrix} is not finite")
        return np.ascontiguousarray(y)
