"""The forward pass of a mixture-of-experts decoder over whole windows of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.model.architecture import Architecture
from cimsim.model.cache import KVCache
from cimsim.model.checkpoint import Checkpoint
from cimsim.model.corrected_linear import CorrectedLinear
from cimsim.model.correction import Correction
from cimsim.model.correction_check import check_correction
from cimsim.model.kernels.rows import negative_log_likelihood
from cimsim.model.linear import Linear
from cimsim.model.observer import Observer
from cimsim.model.parameters import read_parameters
from cimsim.model.routing import Routing, RoutingRecord, stack_routing
from cimsim.model.stepper import Stepper
from cimsim.workload.program import TokenKeys
from cimsim.workload.trace import RoutingTrace

__all__ = ["Decoder", "ForwardResult", "ScoreResult"]

Array = NDArray[np.float32]
Tokens = NDArray[np.int64]

BATCH_TOKENS = 4096  # tokens taken through the layers together: bounds memory, not results


@dataclass(frozen=True)
class ForwardResult:
    """Outcome of `Decoder.forward` on [B, T] tokens.

    Attributes:
        logits: float32 [B, T, vocab].
        experts: int16 [B*T, moe_layers, k], rows in order of window, then position.
        gates: float32 [B*T, moe_layers, k].
        trace: the same routing with the tokens' addresses.
    """

    logits: Array
    experts: NDArray[np.int16]
    gates: Array
    trace: RoutingTrace


@dataclass(frozen=True)
class ScoreResult:
    """Outcome of `Decoder.score` on [B, T] tokens.

    Attributes:
        nll: float64 [B, T-1], -log p of tokens 1 to T-1 in nats.
        experts: int16 [B*T, moe_layers, k], rows in order of window, then position.
        gates: float32 [B*T, moe_layers, k].
        trace: the same routing with the tokens' addresses.
    """

    nll: NDArray[np.float64]
    experts: NDArray[np.int16]
    gates: Array
    trace: RoutingTrace


class Decoder:
    """A decoder's digital parts; matrix products come from a `Linear`.

    Results have the same bytes however windows are batched and whichever thread calls,
    provided that the `Linear` keeps that promise too.

    Args:
        checkpoint: the model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._parameters = read_parameters(checkpoint)

    @property
    def architecture(self) -> Architecture:
        """The decoder's shape."""
        return self._parameters.architecture

    def stepper(
        self,
        linear: Linear,
        *,
        correction: Correction | None = None,
        observer: Observer | None = None,
    ) -> Stepper:
        """Return the decoder joined to a `Linear`, to be driven layer by layer.

        Args:
            linear: evaluates the matrix products.
            correction: applied to router logits and to matrix outputs.
            observer: sees the signals.
        """
        parameters = self._parameters
        if correction is not None:
            check_correction(correction, self.checkpoint.program, self.checkpoint.hash)
            linear = CorrectedLinear(linear, correction)
            parameters = parameters.with_norm_gain(correction.norm_gain)
        return Stepper(parameters, linear, correction, observer)

    def new_cache(self, sequences: Tokens, capacity: int) -> KVCache:
        """Return an empty cache for some sequences of up to `capacity` positions."""
        if capacity > self.architecture.max_positions:
            raise CimsimError(
                "the context is longer than the model's positions",
                key="workload.context",
                value=capacity,
                allowed=f"at most {self.architecture.max_positions}",
            )
        return KVCache(self.architecture, sequences.tolist(), capacity)

    def forward(
        self,
        tokens: Tokens,
        linear: Linear,
        *,
        sequences: Tokens,
        correction: Correction | None = None,
        observer: Observer | None = None,
        routing: RoutingRecord | None = None,
    ) -> ForwardResult:
        """Return logits and routing of windows of tokens; causal, nothing carried over.

        Args:
            tokens: int64 [B, T] token ids.
            linear: evaluates the matrix products.
            sequences: int64 [B], global numbers of the windows: they address the noise.
            correction: applied to router logits and to matrix outputs.
            observer: sees the signals.
            routing: a routing of the same tokens to force on every MoE layer.
        """
        stepper = self.stepper(linear, correction=correction, observer=observer)
        parts: list[Array] = []

        def keep(x: Array, keys: TokenKeys, ids: Tokens) -> None:
            parts.append(stepper.finish(x, keys).reshape(*ids.shape, -1))

        record = self._run(stepper, tokens, sequences, routing, keep)
        trace = self._trace(record, tokens, sequences)
        return ForwardResult(np.concatenate(parts), record.experts, record.gates, trace)

    def score(
        self,
        tokens: Tokens,
        linear: Linear,
        *,
        sequences: Tokens,
        correction: Correction | None = None,
        observer: Observer | None = None,
        routing: RoutingRecord | None = None,
    ) -> ScoreResult:
        """Return the negative log likelihood of windows of tokens, and their routing.

        Arguments are those of `forward`. Logits are not kept; the head is evaluated for
        the T - 1 positions that predict a token of the window.
        """
        stepper = self.stepper(linear, correction=correction, observer=observer)
        parts: list[NDArray[np.float64]] = []

        def keep(x: Array, keys: TokenKeys, ids: Tokens) -> None:
            rows = np.flatnonzero(keys.position < ids.shape[1] - 1)
            logits = stepper.finish(x[rows], keys.take(rows))
            nll = negative_log_likelihood(logits, ids[:, 1:].reshape(-1))
            parts.append(nll.reshape(ids.shape[0], -1))

        record = self._run(stepper, tokens, sequences, routing, keep)
        trace = self._trace(record, tokens, sequences)
        return ScoreResult(np.concatenate(parts), record.experts, record.gates, trace)

    def _run(
        self,
        stepper: Stepper,
        tokens: Tokens,
        sequences: Tokens,
        forced: RoutingRecord | None,
        keep: Callable[[Array, TokenKeys, Tokens], None],
    ) -> RoutingRecord:
        """Take windows through the layers in batches and hand each batch to `keep`."""
        self._check(tokens, sequences)
        context = tokens.shape[1]
        step = max(1, BATCH_TOKENS // context)
        records = []
        for start in range(0, tokens.shape[0], step):
            ids = tokens[start : start + step]
            keys = _keys(sequences[start : start + step], context)
            part = None
            if forced is not None:
                part = forced.rows(start * context, (start + ids.shape[0]) * context)
            cache = self.new_cache(sequences[start : start + step], context)
            x, record = self._layers(stepper, ids.reshape(-1), keys, cache, part)
            keep(x, keys, ids)
            records.append(record)
        return RoutingRecord(
            np.concatenate([r.experts for r in records]), np.concatenate([r.gates for r in records])
        )

    def _layers(
        self,
        stepper: Stepper,
        ids: Tokens,
        keys: TokenKeys,
        cache: KVCache,
        forced: RoutingRecord | None,
    ) -> tuple[Array, RoutingRecord]:
        moe = self.architecture.moe_layers
        routings: list[Routing] = []
        x = stepper.embed(ids)
        for layer in range(self.architecture.n_layers):
            x = stepper.attention(layer, x, keys, cache)
            cache.drop(layer)
            given = None
            if forced is not None and layer in moe:
                given = forced.layer(len(routings))
            normed, routing = stepper.route(layer, x, keys, given)
            x = stepper.experts(layer, x, normed, routing, keys)
            if layer in moe:
                routings.append(routing)
        return x, stack_routing(routings, len(ids))

    def _check(self, tokens: Tokens, sequences: Tokens) -> None:
        if tokens.ndim != 2 or not tokens.size or sequences.shape != tokens.shape[:1]:
            raise CimsimInternalError(
                f"windows {tokens.shape} need one sequence number each, got {sequences.shape}"
            )
        if tokens.min() < 0 or tokens.max() >= self.architecture.vocab_size:
            raise CimsimError(
                "a token is not in the model's vocabulary",
                value=int(tokens.max()),
                allowed=f"0 to {self.architecture.vocab_size - 1}",
                hint="the text was tokenised for another model",
            )

    def _trace(self, record: RoutingRecord, tokens: Tokens, sequences: Tokens) -> RoutingTrace:
        keys = _keys(sequences, tokens.shape[1])
        return RoutingTrace(
            record.experts, keys.sequence, keys.position, self.checkpoint.program.n_experts
        )


def _keys(sequences: Tokens, context: int) -> TokenKeys:
    position = np.tile(np.arange(context, dtype=np.int64), len(sequences))
    return TokenKeys(np.repeat(sequences.astype(np.int64), context), position)
