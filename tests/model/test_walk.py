"""A model driven stage by stage, in any order of visits, gives the bytes of a whole pass."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_decoder import NAMES, Keyed, same_bytes

from cimsim.errors import CimsimInternalError
from cimsim.model import Checkpoint, Decoder, Stage, StreamMemory, Walk
from cimsim.workload.program import TokenKeys

PARTS = ("attention", "router", "experts", "shared", "head")
FAMILIES = [*NAMES, "qwen"]


class Driver:
    """Takes flights through the decoder as an engine would, in a random order."""

    def __init__(
        self, decoder: Decoder, linear: Keyed, windows: np.ndarray, served: set[str], seed: int
    ) -> None:
        self.shape, self.served = decoder.architecture, frozenset(served)
        self.rng = np.random.default_rng(seed)
        stepper = decoder.stepper(linear)
        self.walks: list[list[Walk]] = []
        context = windows.shape[1]
        for sequence, ids in enumerate(windows):
            cache = decoder.new_cache(np.array([sequence]), context)
            memory = StreamMemory(cache, self.shape.n_layers)
            cuts = np.unique([0, context, *self.rng.integers(1, context, 4)])
            following = np.append(ids[1:], -1)
            self.walks.append([
                Walk(
                    stepper, self.shape, ids[a:b], following[a:b],
                    TokenKeys(np.full(b - a, sequence), np.arange(a, b)), memory, self.served,
                )
                for a, b in pairwise(cuts.tolist())
            ])  # fmt: skip

    def groups(self, n: int) -> list[np.ndarray]:
        """Cut rows into copies of a unit, in any order."""
        copy = self.rng.integers(0, 3, n)
        rows = [np.flatnonzero(copy == c) for c in self.rng.permutation(3)]
        return [r for r in rows if len(r)]

    def visit(self, walk: Walk, layer: int, stage: Stage) -> None:
        """Serve what tiles serve of a stage, visit by visit, in any order."""
        n = len(walk.keys.position)
        if layer == self.shape.n_layers:
            visits = [("head", rows, -1) for rows in self.groups(n)]
        elif stage is Stage.EXPERTS:
            visits = []
            block = self.shape.blocks[layer]
            if block.is_moe and "experts" in self.served:
                chosen = walk.routings[-1].experts
                for expert in np.unique(chosen).tolist():
                    rows = np.flatnonzero((chosen == expert).any(axis=1))
                    visits += [("experts", rows[g], expert) for g in self.groups(len(rows))]
            if block.shared_width and "shared" in self.served:
                visits += [("shared", rows, -1) for rows in self.groups(n)]
        else:
            part = "router" if stage is Stage.ROUTER else "attention"
            visits = [(part, rows, -1) for rows in self.groups(n)]
        for at in self.rng.permutation(len(visits)).tolist():
            part, rows, expert = visits[at]
            walk.serve(part, rows, expert)

    def on_tiles(self, layer: int, stage: Stage) -> bool:
        """Whether any part of a stage is served."""
        if layer == self.shape.n_layers:
            return "head" in self.served
        block = self.shape.blocks[layer]
        if stage in {Stage.QKV, Stage.OUT}:
            return "attention" in self.served
        if stage is Stage.ROUTER:
            return block.is_moe and "router" in self.served
        routed = block.is_moe and "experts" in self.served
        return routed or (bool(block.shared_width) and "shared" in self.served)

    def run(self) -> None:
        """Layer by layer; within a layer flights in any order that respects keys and values."""
        for layer in range(self.shape.n_layers):
            for stages in ((Stage.QKV,), (Stage.OUT, Stage.ROUTER, Stage.EXPERTS)):
                flights = [walk for stream in self.walks for walk in stream]
                # After this loop every flight's keys are there: any order may attend.
                for at in self.rng.permutation(len(flights)).tolist():
                    for stage in stages:
                        if self.on_tiles(layer, stage):
                            flights[at].advance(layer, stage, visited=True)
                            self.visit(flights[at], layer, stage)
                    if stages == (Stage.QKV,):
                        flights[at].advance(layer, Stage.ATTEND, visited=False)
        for stream in self.walks:
            for walk in stream:
                if "head" in self.served:
                    walk.advance(self.shape.n_layers, Stage.QKV, visited=True)
                    self.visit(walk, self.shape.n_layers, Stage.QKV)
                walk.advance(self.shape.n_layers + 1, Stage.QKV, visited=False)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("served", [(), PARTS, ("attention", "shared"), ("router", "experts")])
def test_any_order_of_visits_gives_the_bytes_of_a_whole_pass(
    name: str, served: tuple[str, ...], checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder, linear = Decoder(checkpoints[name]), Keyed(checkpoints[name])
    whole = decoder.score(windows, linear, sequences=np.arange(len(windows)))
    driver = Driver(decoder, linear, windows, set(served), seed=len(served))
    driver.run()
    nll = np.array([np.concatenate([w.nll for w in stream])[:-1] for stream in driver.walks])
    flights = [w for stream in driver.walks for w in stream]
    assert same_bytes(nll, whole.nll)
    for layer in range(whole.experts.shape[1]):
        for kind in ("experts", "gates"):
            found = np.concatenate([getattr(w.routings[layer], kind) for w in flights])
            assert same_bytes(found, np.ascontiguousarray(getattr(whole, kind)[:, layer]))


def test_a_stream_continues_from_the_keys_of_another_cache(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder, linear = Decoder(checkpoints["qwen"]), Keyed(checkpoints["qwen"])
    stepper, shape = decoder.stepper(linear), decoder.architecture
    ids, layers = windows[0], decoder.architecture.n_layers

    def walk(first: int, end: int, memory: StreamMemory) -> Walk:
        keys = TokenKeys(np.zeros(end - first, dtype=np.int64), np.arange(first, end))
        following = np.append(ids[1:], -1)[first:end]
        made = Walk(stepper, shape, ids[first:end], following, keys, memory, frozenset())
        made.advance(layers + 1, Stage.QKV, visited=False)
        return made

    full = StreamMemory(decoder.new_cache(np.array([0]), 40), layers)
    whole = walk(0, 40, full)
    rest = decoder.new_cache(np.array([0]), 40)
    rest.prime(full.cache, 0, 25)
    assert same_bytes(walk(25, 40, StreamMemory(rest, layers)).nll[:-1], whole.nll[25:-1])
    short = StreamMemory(decoder.new_cache(np.array([0]), 40), layers)
    walk(0, 10, short)
    with pytest.raises(CimsimInternalError, match="does not hold"):
        decoder.new_cache(np.array([0]), 40).prime(short.cache, 0, 25)


def test_a_walk_never_goes_back(checkpoints: dict[str, Checkpoint], windows: np.ndarray) -> None:
    decoder = Decoder(checkpoints["qwen"])
    stepper = decoder.stepper(Keyed(checkpoints["qwen"]))
    memory = StreamMemory(decoder.new_cache(np.array([0]), 40), decoder.architecture.n_layers)
    keys = TokenKeys(np.zeros(4, dtype=np.int64), np.arange(4))
    walk = Walk(
        stepper, decoder.architecture, windows[0, :4], windows[0, 1:5], keys, memory, frozenset()
    )
    walk.advance(1, Stage.ROUTER, visited=False)
    with pytest.raises(CimsimInternalError, match="goes back"):
        walk.advance(0, Stage.OUT, visited=False)
