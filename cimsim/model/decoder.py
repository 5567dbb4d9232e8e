"""The forward pass of a mixture-of-experts decoder over whole windows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.model.array_backend import ArrayBackend, NumbaBackend
from cimsim.model.cache import KVCache
from cimsim.model.checkpoint import Checkpoint
from cimsim.model.corrected_linear import CorrectedLinear
from cimsim.model.correction import Correction
from cimsim.model.correction_check import check_correction
from cimsim.model.flight import NOTHING, Flight, Stream, next_tokens
from cimsim.model.interpreter import NO_PARTS, Interpreter
from cimsim.model.linear import Linear
from cimsim.model.observer import Observer
from cimsim.model.parameters import read_parameters
from cimsim.model.routing import RoutingRecord
from cimsim.model.side_by_side import Share, pass_side_by_side
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["Decoder", "ForwardResult", "ScoreResult"]

Array = NDArray[np.float32]
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class _Routed:
    """Where the tokens of [B, T] windows went.

    Attributes:
        gates: float32 [B*T, moe_layers, k], rows in order of window, then position.
        trace: their experts with the tokens' addresses.
    """

    gates: Array
    trace: RoutingTrace

    @property
    def experts(self) -> NDArray[np.int16]:
        """Experts of every token, int16 [B*T, moe_layers, k]."""
        return self.trace.experts


@dataclass(frozen=True)
class ForwardResult(_Routed):
    """Outcome of `Decoder.forward` on [B, T] tokens.

    Attributes:
        logits: float32 [B, T, vocab].
    """

    logits: Array


@dataclass(frozen=True)
class ScoreResult(_Routed):
    """Outcome of `Decoder.score` on [B, T] tokens.

    Attributes:
        nll: float64 [B, T-1], -log p of tokens 1 to T-1 in nats.
    """

    nll: NDArray[np.float64]


class Decoder:
    """A checkpoint ready to be computed; matrix products come from a `Linear`.

    Results have the same bytes however windows are batched and whichever thread calls,
    provided that the `Linear` keeps that promise too.

    Args:
        checkpoint: the model.
        backend: does the digital arithmetic; the `Linear` takes and gives its arrays.

    Attributes:
        checkpoint: the model.
        backend: does the digital arithmetic.
        parameters: the digital parameters, as its arrays.
    """

    def __init__(self, checkpoint: Checkpoint, backend: ArrayBackend | None = None) -> None:
        self.checkpoint = checkpoint
        self.backend: ArrayBackend = backend or NumbaBackend()
        self.parameters = read_parameters(checkpoint, self.backend)

    @cached_property
    def _layer_ends(self) -> list[int]:
        """Return the index of the operation after each layer, the end of the program last."""
        layers = [o.layer for o in self.program.operations]
        changes = [i for i in range(1, len(layers)) if layers[i] != layers[i - 1]]
        return [*changes, len(layers)]

    @property
    def program(self) -> Program:
        """The decoder's operations."""
        return self.checkpoint.program

    def interpreter(
        self,
        linear: Linear,
        *,
        correction: Correction | None = None,
        observer: Observer | None = None,
        on_tiles: frozenset[str] = NO_PARTS,
    ) -> Interpreter:
        """Return the decoder joined to a `Linear`, to be driven operation by operation.

        Args:
            linear: evaluates the matrix products.
            correction: applied to router logits and to matrix outputs.
            observer: sees the signals.
            on_tiles: parts of the model that are served visit by visit.
        """
        parameters = self.parameters
        if correction is not None:
            check_correction(correction, self.program, self.checkpoint.hash)
            linear = CorrectedLinear(linear, correction, self.backend)
            gains = {
                place: self.backend.of_layer(place[0]).array(gain)
                for place, gain in correction.norm_gain.items()
            }
            parameters = parameters.with_norm_gain(gains)
        return Interpreter(
            self.program, parameters, self.backend, linear, correction, observer, on_tiles
        )

    def new_cache(self, sequences: Tokens, capacity: int) -> KVCache:
        """Return an empty cache for some sequences of up to `capacity` positions."""
        heads = self.program.heads
        heads.refuse_beyond(capacity)
        return KVCache(heads, sequences.tolist(), capacity, self.backend)

    def flight(
        self,
        windows: Tokens,
        sequences: Tokens,
        *,
        scored: bool = False,
        forced: RoutingRecord | None = None,
    ) -> Flight:
        """Return all tokens of windows as one flight that has not begun.

        Args:
            windows: int64 [B, T] token ids.
            sequences: int64 [B], global numbers of the windows: they address the noise.
            scored: whether the T - 1 positions that predict a token of their window are scored;
                else logits are kept.
            forced: a routing to force on every MoE layer.
        """
        return Flight(
            windows.reshape(-1),
            TokenKeys.of_windows(sequences, windows.shape[1]),
            Stream(self.new_cache(sequences, windows.shape[1]), ends=True),
            following=next_tokens(windows) if scored else None,
            forced=forced,
        )

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
        interpreter = self.interpreter(linear, correction=correction, observer=observer)
        logits, trace, gates = self._run(interpreter, tokens, sequences, routing, (), scored=False)
        shape = (*tokens.shape, self.program.vocab_size)
        return ForwardResult(gates, trace, logits.reshape(shape))

    def logits(
        self,
        tokens: Tokens,
        linear: Linear,
        *,
        sequences: Tokens,
        at_once: int,
        correction: Correction | None = None,
    ) -> Iterator[Array]:
        """Yield the logits of some windows after others, the backend's, [windows, T, vocab].

        All windows pass a layer before any passes the next one; logits are there for some alone.

        Args:
            tokens: int64 [B, T] token ids.
            linear: evaluates the matrix products.
            sequences: int64 [B], global numbers of the windows: they address the noise.
            at_once: windows whose logits are there together.
            correction: applied to router logits and to matrix outputs.
        """
        interpreter = self.interpreter(linear, correction=correction)
        shape = (-1, tokens.shape[1], self.program.vocab_size)
        flights = self._flights(tokens, sequences, None, at_once, scored=False)
        for flight in _passed(flights, interpreter, self._layer_ends):
            found = flight.logits
            flight.logits = NOTHING
            yield found.reshape(shape)

    def score(
        self,
        tokens: Tokens,
        linear: Linear,
        *,
        sequences: Tokens,
        correction: Correction | None = None,
        observer: Observer | None = None,
        routing: RoutingRecord | None = None,
        side_by_side: bool = False,
    ) -> ScoreResult:
        """Return the negative log likelihood of windows of tokens, and their routing.

        Arguments are those of `forward`. Logits are not kept; the head is evaluated for
        the T - 1 positions that predict a token of the window. Where several devices share the
        layers they work at once, each on other windows, if products may be asked for from several
        threads (`side_by_side`); of one layer they are asked for in order.
        """
        interpreter = self.interpreter(linear, correction=correction, observer=observer)
        shares = self._shares(interpreter) if side_by_side else ()
        nll, trace, gates = self._run(interpreter, tokens, sequences, routing, shares, scored=True)
        nll = np.ascontiguousarray(nll.reshape(tokens.shape)[:, :-1])
        return ScoreResult(gates, trace, nll)

    def _run(
        self,
        interpreter: Interpreter,
        windows: Tokens,
        sequences: Tokens,
        forced: RoutingRecord | None,
        shares: Sequence[Share],
        *,
        scored: bool,
    ) -> tuple[NDArray[Any], RoutingTrace, Array]:
        """Take windows through the program in batches: losses or logits, experts, gates."""
        context = windows.shape[1]
        step = max(1, self.backend.batch_tokens // context)
        found, records = [], []
        flights = self._flights(windows, sequences, forced, step, scored=scored)
        if len(shares) < 2 or len(flights) < 2:
            passed = _passed(flights, interpreter, self._layer_ends)
        else:
            passed = pass_side_by_side(flights, shares)
        for flight in passed:
            found.append(flight.nll if scored else self.backend.host(flight.logits))
            flight.logits = NOTHING
            records.append(flight.record())
        experts = np.concatenate([r.experts for r in records])
        keys = TokenKeys.of_windows(sequences, context)
        trace = RoutingTrace(experts, *keys, self.program.n_experts)
        return np.concatenate(found), trace, np.concatenate([r.gates for r in records])

    def _flights(
        self,
        windows: Tokens,
        sequences: Tokens,
        forced: RoutingRecord | None,
        step: int,
        *,
        scored: bool,
    ) -> list[Flight]:
        """Return flights of `step` windows that have not begun."""
        self._check(windows, sequences)
        context, flights = windows.shape[1], []
        for start in range(0, len(windows), step):
            some = slice(start, start + step)
            given = None if forced is None else forced.rows(start * context, some.stop * context)
            flights.append(self.flight(windows[some], sequences[some], scored=scored, forced=given))
        return flights

    def _shares(self, interpreter: Interpreter) -> list[Share]:
        """Return what takes a flight through the layers of each device, in order."""
        ends: list[tuple[ArrayBackend, int]] = []
        for stop in self._layer_ends:
            part = self.backend.of_layer(self.program.operations[stop - 1].layer)
            if ends and ends[-1][0] is part:
                ends.pop()
            ends.append((part, stop))
        return [partial(interpreter.advance, stop=stop) for _, stop in ends]

    def _check(self, tokens: Tokens, sequences: Tokens) -> None:
        if tokens.ndim != 2 or not tokens.size or sequences.shape != tokens.shape[:1]:
            raise CimsimInternalError(
                f"windows {tokens.shape} need one sequence number each, got {sequences.shape}"
            )
        if tokens.min() < 0 or tokens.max() >= self.program.vocab_size:
            raise CimsimError(
                "a token is not in the model's vocabulary",
                value=int(tokens.max()),
                allowed=f"0 to {self.program.vocab_size - 1}",
                hint="the text was tokenised for another model",
            )


def _passed(
    flights: Sequence[Flight], interpreter: Interpreter, layer_ends: Sequence[int]
) -> Iterator[Flight]:
    """Yield flights at the end of the program, one after another."""
    # Layer by layer for all windows: the weights of one need not be there with another's.
    for stop in layer_ends[:-1]:
        for flight in flights:
            interpreter.advance(flight, stop)
    for flight in flights:
        interpreter.advance(flight)
        yield flight
