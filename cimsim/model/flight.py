"""A group of tokens on its way through a program, and the stream of those that it attends to.

Rows do not depend on each other, so results have the bytes of a pass over all tokens at once,
however tokens are cut into flights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import Piece
from cimsim.model.cache import KVCache
from cimsim.model.routing import Routing, RoutingRecord
from cimsim.workload.matrix import TokenKeys

__all__ = ["Flight", "Stream", "next_tokens"]

Array = NDArray[np.float32]
Tokens = NDArray[np.int64]
NOT_SCORED = -1
NOTHING = np.zeros((0, 0), dtype=np.float32)


def next_tokens(windows: Tokens) -> Tokens:
    """Return the token after each token of windows [B, T], -1 after the last ones, [B * T]."""
    following = np.full(windows.shape, NOT_SCORED, dtype=np.int64)
    following[:, :-1] = windows[:, 1:]
    return following.reshape(-1)


class Stream:
    """Flights that attend to each other, in the order in which they enter.

    Keys and values are stored in that order whenever a flight attends, also those of flights
    before it that have not attended yet.

    Args:
        cache: holds their sequences.
        ends: whether no flight follows the first: a layer is then forgotten once it has attended.
    """

    def __init__(self, cache: KVCache, *, ends: bool = False) -> None:
        self.cache, self.ends = cache, ends
        self._flights: list[Flight] = []
        self._stored: dict[int, int] = {}

    def enter(self, flight: Flight) -> int:
        """Let a flight follow those that have entered; return their number."""
        self._flights.append(flight)
        return len(self._flights) - 1

    def unstored(self, layer: int, flight: Flight) -> list[Flight]:
        """Return the flights up to one whose keys and values a layer lacks; they are due now."""
        start, end = self._stored.get(layer, 0), flight.number + 1
        self._stored[layer] = max(start, end)
        return self._flights[start:end]


class Flight:
    """Tokens between two operations of a program.

    Args:
        ids: int64 [n], the tokens.
        keys: their addresses.
        stream: what they attend to; the flight enters it.
        following: int64 [n], the token after each, -1 where it is not scored; None to keep
            logits instead of scores.
        forced: routing to use instead of the routers', which then are not evaluated.

    Attributes:
        at: index of the next operation.
        waits: whether that operation is prepared, and waits for visits to serve its rows.
        x: float32 [n, d_model], the residual stream.
        inputs: float32 [n, width], of the next products.
        outputs: of the last products, or what the block adds to the residual stream.
        kept: what latent attention takes later: latents, and what is rotated of keys and queries.
        number: of flights that entered the stream before.
        pieces: rows of products that are there, by what they are joined to.
        visits: (expert, rows, output) of the routed experts that are there.
        routings: of the MoE layers passed so far.
        nll: float64 [n], -log p of the following token in nats; NaN where it is not scored.
        logits: float32 [n, vocab] after the head, if logits are kept.
    """

    def __init__(
        self,
        ids: Tokens,
        keys: TokenKeys,
        stream: Stream,
        *,
        following: Tokens | None = None,
        forced: RoutingRecord | None = None,
    ) -> None:
        self.ids, self.keys, self.stream = ids, keys, stream
        self.following, self.forced = following, forced
        self.at, self.waits = 0, False
        self.x = self.inputs = self.logits = NOTHING
        self.outputs: tuple[Array, ...] = ()
        self.kept: tuple[Array, ...] = ()
        self.pieces: dict[str, list[Piece]] = {}
        self.visits: list[tuple[int, Tokens, Array]] = []
        self.routings: list[Routing] = []
        self.nll = np.full(len(ids), np.nan)
        self.number = stream.enter(self)

    def record(self) -> RoutingRecord:
        """Return where the tokens went."""
        n = len(self.ids)
        if not self.routings:
            empty = np.zeros((n, 0, 0), dtype=np.float32)
            return RoutingRecord(empty.astype(np.int16), empty)
        return RoutingRecord(
            np.stack([r.experts for r in self.routings], axis=1),
            np.stack([r.gates for r in self.routings], axis=1),
        )
