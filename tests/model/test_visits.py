"""A model driven by operations, in any order of visits, gives the bytes of a whole pass."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_decoder import NAMES, Keyed, same_bytes

from cimsim.errors import CimsimInternalError
from cimsim.model import Checkpoint, Decoder, Flight, Stream
from cimsim.workload.latent import RotateLatent
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.operations import Attend, Experts, Operation, Project, Rotate, Route

PARTS = ("attention", "router", "experts", "shared", "head")
FAMILIES = [*NAMES, "qwen", "deepseek-v3"]


class Driver:
    """Takes flights through the decoder as an engine would, in a random order."""

    def __init__(
        self, decoder: Decoder, linear: Keyed, windows: np.ndarray, served: set[str], seed: int
    ) -> None:
        self.operations, self.served = decoder.program.operations, served
        self.rng = np.random.default_rng(seed)
        self.interpreter = decoder.interpreter(linear, on_tiles=frozenset(served))
        self.flights: list[list[Flight]] = []
        context = windows.shape[1]
        for sequence, ids in enumerate(windows):
            stream = Stream(decoder.new_cache(np.array([sequence]), context))
            cuts = np.unique([0, context, *self.rng.integers(1, context, 4)])
            following = np.append(ids[1:], -1)
            self.flights.append([
                Flight(
                    ids[a:b], TokenKeys(np.full(b - a, sequence), np.arange(a, b)), stream,
                    following=following[a:b],
                )
                for a, b in pairwise(cuts.tolist())
            ])  # fmt: skip

    def groups(self, n: int) -> list[np.ndarray]:
        """Cut rows into copies of a unit, in any order."""
        copy = self.rng.integers(0, 3, n)
        rows = [np.flatnonzero(copy == c) for c in self.rng.permutation(3)]
        return [r for r in rows if len(r)]

    def visit(self, flight: Flight, operation: Operation) -> None:
        """Serve what tiles serve of an operation, visit by visit, in any order."""
        n = len(flight.ids)
        visits = []
        if isinstance(operation, Experts):
            if operation.experts and "experts" in self.served:
                chosen = flight.routings[-1].experts
                for expert in np.unique(chosen).tolist():
                    rows = np.flatnonzero((chosen == expert).any(axis=1))
                    visits += [("experts", rows[g], expert) for g in self.groups(len(rows))]
            if operation.shared and "shared" in self.served:
                visits += [("shared", rows, -1) for rows in self.groups(n)]
        else:
            part = operation.matrices[0].id.part
            visits = [(part, rows, -1) for rows in self.groups(n)]
        for at in self.rng.permutation(len(visits)).tolist():
            self.interpreter.serve(flight, *visits[at])

    def on_tiles(self, operation: Operation) -> bool:
        """Whether any part of an operation is served."""
        return any(m.id.part in self.served for m in operation.matrices)

    def step(self, flight: Flight, index: int) -> None:
        """Take a flight through an operation if tiles serve it, and up to it if it rotates."""
        operation = self.operations[index]
        if self.on_tiles(operation):
            self.interpreter.advance(flight, index)
            self.interpreter.prepare(flight)
            self.visit(flight, operation)
        elif isinstance(operation, Rotate | RotateLatent):
            self.interpreter.advance(flight, index)

    def run(self) -> None:
        """Within a layer flights go in any order that respects keys and values."""
        flights = [flight for stream in self.flights for flight in stream]
        parts = [
            [i for i, o in enumerate(self.operations) if o.layer == layer and first == _first(o)]
            for layer in range(self.operations[-1].layer + 1)
            for first in (True, False)
        ]
        for indices in parts:
            # After the first half of a layer every flight's keys are there: any order may attend.
            for at in self.rng.permutation(len(flights)).tolist():
                for index in indices:
                    rotates = isinstance(self.operations[index], Rotate | RotateLatent)
                    if not rotates or flights[at].at <= index:
                        self.step(flights[at], index)
        for flight in flights:
            self.interpreter.advance(flight)


def _first(operation: Operation) -> bool:
    """Whether keys and values of a layer follow from an operation or it comes before them."""
    return isinstance(operation, Rotate | RotateLatent) or (
        isinstance(operation, Project) and operation.stage in ("qkv", "q_b", "k_b")
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("served", [(), PARTS, ("attention", "shared"), ("router", "experts")])
def test_any_order_of_visits_gives_the_bytes_of_a_whole_pass(
    name: str, served: tuple[str, ...], checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder, linear = Decoder(checkpoints[name]), Keyed(checkpoints[name])
    whole = decoder.score(windows, linear, sequences=np.arange(len(windows)))
    driver = Driver(decoder, linear, windows, set(served), seed=len(served))
    driver.run()
    nll = np.array([np.concatenate([f.nll for f in stream])[:-1] for stream in driver.flights])
    flights = [f for stream in driver.flights for f in stream]
    assert same_bytes(nll, whole.nll)
    for layer in range(whole.experts.shape[1]):
        for kind in ("experts", "gates"):
            found = np.concatenate([getattr(f.routings[layer], kind) for f in flights])
            assert same_bytes(found, np.ascontiguousarray(getattr(whole, kind)[:, layer]))


def flight_of(window: np.ndarray, first: int, end: int, stream: Stream) -> Flight:
    keys = TokenKeys(np.zeros(end - first, dtype=np.int64), np.arange(first, end))
    following = np.append(window[1:], -1)[first:end]
    return Flight(window[first:end], keys, stream, following=following)


def test_a_stream_continues_from_the_keys_of_another_cache(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder, ids = Decoder(checkpoints["qwen"]), windows[0]
    interpreter = decoder.interpreter(Keyed(checkpoints["qwen"]))

    def passed(first: int, end: int, stream: Stream) -> Flight:
        flight = flight_of(ids, first, end, stream)
        interpreter.advance(flight)
        return flight

    full = Stream(decoder.new_cache(np.array([0]), 40))
    whole = passed(0, 40, full)
    rest = decoder.new_cache(np.array([0]), 40)
    rest.prime(full.cache, 0, 25)
    assert same_bytes(passed(25, 40, Stream(rest)).nll[:-1], whole.nll[25:-1])
    short = Stream(decoder.new_cache(np.array([0]), 40))
    passed(0, 10, short)
    with pytest.raises(CimsimInternalError, match="does not hold"):
        decoder.new_cache(np.array([0]), 40).prime(short.cache, 0, 25)


def test_a_flight_never_goes_back(checkpoints: dict[str, Checkpoint], windows: np.ndarray) -> None:
    decoder = Decoder(checkpoints["qwen"])
    interpreter = decoder.interpreter(Keyed(checkpoints["qwen"]))
    flight = flight_of(windows[0], 0, 4, Stream(decoder.new_cache(np.array([0]), 40)))
    kinds = [type(operation) for operation in decoder.program.operations]
    interpreter.advance(flight, kinds.index(Route))
    with pytest.raises(CimsimInternalError, match="goes back"):
        interpreter.advance(flight, kinds.index(Attend))


def test_a_flight_does_not_attend_before_the_keys_of_an_earlier_one_are_there(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder = Decoder(checkpoints["qwen"])
    interpreter = decoder.interpreter(Keyed(checkpoints["qwen"]), on_tiles=frozenset(PARTS))
    stream = Stream(decoder.new_cache(np.array([0]), 40))
    flight_of(windows[0], 0, 4, stream)
    later = flight_of(windows[0], 4, 8, stream)
    with pytest.raises(CimsimInternalError, match="before an earlier one"):
        interpreter.advance(later)


def test_an_operation_without_products_serves_no_visit(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder = Decoder(checkpoints["qwen"])
    interpreter = decoder.interpreter(Keyed(checkpoints["qwen"]))
    flight = flight_of(windows[0], 0, 4, Stream(decoder.new_cache(np.array([0]), 40)))
    interpreter.advance(flight, [type(o) for o in decoder.program.operations].index(Rotate))
    with pytest.raises(CimsimInternalError, match="no products to serve"):
        interpreter.serve(flight, "attention", np.arange(4))
