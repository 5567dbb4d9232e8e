"""The forward pass: any cut of the work gives the same bytes, and misuse is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cimsim.errors import CimsimError, CimsimInternalError, SimulationError
from cimsim.model import (
    Checkpoint,
    Decoder,
    Flight,
    FloatLinear,
    Observer,
    Routing,
    RoutingRecord,
    Stream,
)
from cimsim.workload.matrix import MatrixId, TokenKeys

NAMES = ["olmoe-gqa-clip-bias", "qwen-sparse-step", "mixtral", "deepseek"]
Windows = np.ndarray


class Keyed:
    """A Linear with noise that is a function of matrix, sequence, position and column."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.exact = FloatLinear(checkpoint)
        self.seen: dict[MatrixId, int] = {}

    def __call__(self, matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        y = self.exact(matrix, x, tokens)
        self.seen[matrix] = self.seen.get(matrix, 0) + len(x)
        place = tokens.sequence * 1009 + tokens.position * 31 + matrix.layer * 7 + matrix.expert
        phase = place[:, None] * 0.37 + np.arange(y.shape[1])[None, :]
        return y + np.float32(0.05) * np.sin(phase).astype(np.float32)


def same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_how_windows_are_batched(
    name: str, checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    decoder, linear = Decoder(checkpoints[name]), Keyed(checkpoints[name])
    sequences = np.array([11, 5, 7, 100, 3])
    whole = decoder.forward(windows, linear, sequences=sequences)
    for i in range(5):
        one = decoder.forward(windows[i : i + 1], linear, sequences=sequences[i : i + 1])
        rows = slice(i * 40, (i + 1) * 40)
        assert same_bytes(one.logits[0], whole.logits[i])
        assert same_bytes(one.experts, whole.experts[rows])
        assert same_bytes(one.gates, whole.gates[rows])
    np.testing.assert_array_equal(whole.trace.sequence[::40], sequences)


def test_results_do_not_depend_on_the_size_of_internal_batches(
    checkpoints: dict[str, Checkpoint], windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, linear = Decoder(checkpoints["qwen"]), Keyed(checkpoints["qwen"])
    whole = decoder.score(windows, linear, sequences=np.arange(5))
    monkeypatch.setattr("cimsim.model.array_backend.NumbaBackend.batch_tokens", 80)
    cut = decoder.score(windows, linear, sequences=np.arange(5))
    assert same_bytes(whole.nll, cut.nll)
    assert same_bytes(whole.experts, cut.experts)


def test_results_do_not_depend_on_threads(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    decoder, linear = Decoder(checkpoints["deepseek"]), Keyed(checkpoints["deepseek"])
    whole = decoder.score(windows, linear, sequences=np.arange(5)).nll

    def one(i: int) -> np.ndarray:
        return decoder.score(windows[i : i + 1], linear, sequences=np.array([i])).nll

    with ThreadPoolExecutor(4) as pool:
        assert same_bytes(np.concatenate(list(pool.map(one, range(5)))), whole)


def drive(
    decoder: Decoder, linear: Any, windows: Windows, flights: list[tuple[int, int, int]]
) -> dict[tuple[int, int], np.ndarray]:
    """Take flights (sequence, first, last) through the program, one flight after the other."""
    interpreter = decoder.interpreter(linear)
    stream = Stream(decoder.new_cache(np.arange(len(windows)), windows.shape[1]))
    logits = {}
    for sequence, first, last in flights:
        position = np.arange(first, last)
        keys = TokenKeys(np.full(last - first, sequence), position)
        flight = Flight(windows[sequence, first:last], keys, stream)
        interpreter.advance(flight)
        for row, p in zip(flight.logits, position, strict=True):
            logits[sequence, int(p)] = row
    return logits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flight", [1, 16])
def test_flights_give_the_bytes_of_whole_windows(
    name: str, flight: int, checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    decoder, linear = Decoder(checkpoints[name]), Keyed(checkpoints[name])
    pair = windows[:2]
    whole = decoder.forward(pair, linear, sequences=np.arange(2)).logits
    starts = range(0, 40, flight)
    flights = [(s, a, min(a + flight, 40)) for a in starts for s in (1, 0)]
    found = drive(decoder, linear, pair, flights)
    assert all(same_bytes(found[s, p], whole[s, p]) for s in range(2) for p in range(40))


def test_one_batch_may_mix_sequences_at_different_positions(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    decoder, linear = Decoder(checkpoints["olmoe"]), Keyed(checkpoints["olmoe"])
    interpreter = decoder.interpreter(linear)
    stream = Stream(decoder.new_cache(np.array([0, 1]), 40))
    whole = decoder.forward(windows[:2], linear, sequences=np.arange(2)).logits
    for keys in (
        TokenKeys(np.array([0, 0, 0]), np.array([0, 1, 2])),
        TokenKeys(np.array([1, 0, 1]), np.array([0, 3, 1])),
        TokenKeys(np.array([0, 1, 0]), np.array([5, 2, 4])),
    ):
        flight = Flight(windows[keys.sequence, keys.position], keys, stream)
        interpreter.advance(flight)
        assert same_bytes(flight.logits, whole[keys.sequence, keys.position])


@pytest.mark.parametrize("positions", [[1], [0, 0], [0, 2], [40]])
def test_tokens_out_of_order_are_refused(
    positions: list[int], checkpoints: dict[str, Checkpoint]
) -> None:
    decoder = Decoder(checkpoints["olmoe"])
    keys = TokenKeys(np.zeros(len(positions), dtype=np.int64), np.array(positions))
    ids = np.ones(len(positions), dtype=np.int64)
    flight = Flight(ids, keys, Stream(decoder.new_cache(np.array([0]), 40)))
    with pytest.raises(CimsimInternalError, match="position"):
        decoder.interpreter(FloatLinear(checkpoints["olmoe"])).advance(flight)


def test_a_sequence_that_the_cache_does_not_hold_is_refused(
    checkpoints: dict[str, Checkpoint],
) -> None:
    decoder = Decoder(checkpoints["olmoe"])
    keys = TokenKeys(np.array([8]), np.array([0]))
    flight = Flight(np.array([1]), keys, Stream(decoder.new_cache(np.array([0]), 4)))
    with pytest.raises(CimsimInternalError, match="not in the cache"):
        decoder.interpreter(FloatLinear(checkpoints["olmoe"])).advance(flight)


def test_score_is_the_loss_of_the_logits(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    decoder, linear = Decoder(checkpoints["qwen"]), FloatLinear(checkpoints["qwen"])
    logits = decoder.forward(windows, linear, sequences=np.arange(5)).logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    expected = -np.take_along_axis(log_p[:, :-1], windows[:, 1:, None], axis=-1)[..., 0]
    scored = decoder.score(windows, linear, sequences=np.arange(5))
    np.testing.assert_allclose(scored.nll, expected, rtol=1e-9)


def test_every_matrix_gets_the_vectors_that_routing_implies(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    checkpoint = checkpoints["deepseek"]
    linear = Keyed(checkpoint)
    result = Decoder(checkpoint).score(windows, linear, sequences=np.arange(5))
    load = result.trace.load()
    assert load.sum() == windows.size * 2 * 3
    for matrix, vectors in linear.seen.items():
        if matrix.role == "head":
            assert vectors == 5 * 39
        elif matrix.part == "experts":
            assert vectors == load[matrix.layer - 1, matrix.expert]
        else:
            assert vectors == 5 * 40


def test_a_forced_routing_follows_its_windows_through_internal_batches(
    checkpoints: dict[str, Checkpoint], windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, linear = Decoder(checkpoints["qwen"]), FloatLinear(checkpoints["qwen"])
    free = decoder.score(windows, linear, sequences=np.arange(5))
    monkeypatch.setattr("cimsim.model.array_backend.NumbaBackend.batch_tokens", 80)
    own = RoutingRecord(free.experts, free.gates)
    forced = decoder.score(windows, linear, sequences=np.arange(5), routing=own)
    assert same_bytes(forced.nll, free.nll)
    assert same_bytes(forced.experts, free.experts)


def test_a_forced_routing_replaces_the_router(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    checkpoint = checkpoints["deepseek"]
    decoder = Decoder(checkpoint)
    clean = decoder.forward(windows, FloatLinear(checkpoint), sequences=np.arange(5))
    linear = Keyed(checkpoint)
    free = decoder.forward(windows, linear, sequences=np.arange(5))
    assert not np.array_equal(free.experts, clean.experts)
    record = RoutingRecord(clean.experts, clean.gates)
    linear.seen.clear()
    forced = decoder.forward(windows, linear, sequences=np.arange(5), routing=record)
    assert same_bytes(forced.experts, clean.experts)
    assert same_bytes(forced.gates, clean.gates)
    assert MatrixId(1, "router") not in linear.seen
    own = RoutingRecord(free.experts, free.gates)
    again = decoder.forward(windows, linear, sequences=np.arange(5), routing=own)
    assert same_bytes(again.logits, free.logits)


class Recorder(Observer):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.logits: dict[int, np.ndarray] = {}
        self.inputs: dict[int, np.ndarray] = {}

    def norm(self, layer: int, name: str, tokens: TokenKeys, normed: np.ndarray) -> None:
        assert normed.shape == (len(tokens.position), 48)
        self.calls.append((name, layer))

    def router(self, layer: int, tokens: TokenKeys, inputs: np.ndarray, logits: np.ndarray) -> None:
        assert len(inputs) == len(logits) == len(tokens.position)
        self.calls.append(("router", layer))
        self.inputs[layer], self.logits[layer] = inputs, logits

    def routing(self, layer: int, tokens: TokenKeys, routing: Routing) -> None:
        assert routing.experts.shape == routing.gates.shape == (len(tokens.sequence), 3)
        self.calls.append(("routing", layer))


def test_an_observer_sees_norms_and_routers_in_order(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    checkpoint, recorder = checkpoints["deepseek"], Recorder()
    linear = FloatLinear(checkpoint)
    result = Decoder(checkpoint).forward(windows, linear, sequences=np.arange(5), observer=recorder)
    moe = [(name, i) for i in (1, 2) for name in ("attention", "block", "router", "routing")]
    assert recorder.calls == [("attention", 0), ("block", 0), *moe, ("final", 3)]
    weight = checkpoint.matrix(MatrixId(2, "router"))
    np.testing.assert_allclose(recorder.logits[2], recorder.inputs[2] @ weight, atol=1e-5)
    np.testing.assert_array_equal(recorder.logits[2].argmax(axis=1), result.experts[:, 1, 0])


def test_a_linear_may_keep_its_outputs(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    checkpoint = checkpoints["mixtral"]
    exact, kept = FloatLinear(checkpoint), []

    def keeping(matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        y = exact(matrix, x, tokens)
        y.setflags(write=False)
        kept.append((y, y.copy()))
        return y

    Decoder(checkpoint).score(windows, keeping, sequences=np.arange(5))
    assert all(np.array_equal(y, copy) for y, copy in kept)


def test_tokens_outside_the_vocabulary_are_refused(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["olmoe"]
    tokens = np.full((1, 4), 199)
    with pytest.raises(CimsimError, match=r"vocabulary.*0 to 198"):
        Decoder(checkpoint).score(tokens, FloatLinear(checkpoint), sequences=np.array([0]))


def test_windows_longer_than_the_model_are_refused(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["olmoe"]
    tokens = np.zeros((1, 65), dtype=np.int64)
    with pytest.raises(CimsimError, match="at most 64"):
        Decoder(checkpoint).score(tokens, FloatLinear(checkpoint), sequences=np.array([0]))


def test_windows_without_a_number_each_are_refused(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    checkpoint = checkpoints["olmoe"]
    with pytest.raises(CimsimInternalError, match="sequence number"):
        Decoder(checkpoint).score(windows, FloatLinear(checkpoint), sequences=np.arange(3))


def test_a_product_of_the_wrong_shape_is_refused(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    def broken(matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        return np.zeros((1, 1))

    with pytest.raises(CimsimInternalError, match=r"0\.q"):
        Decoder(checkpoints["olmoe"]).score(windows, broken, sequences=np.arange(5))


def test_a_product_that_is_not_finite_is_refused(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    exact = FloatLinear(checkpoints["olmoe"])

    def broken(matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        y = exact(matrix, x, tokens)
        y[-1, -1] = np.nan if matrix == MatrixId(1, "v") else y[-1, -1]
        return y

    with pytest.raises(CimsimInternalError, match=r"1\.v is not finite"):
        Decoder(checkpoints["olmoe"]).score(windows, broken, sequences=np.arange(5))


def test_activations_that_overflow_are_the_models_affair(
    checkpoints: dict[str, Checkpoint], windows: Windows
) -> None:
    exact = FloatLinear(checkpoints["olmoe"])

    def great(matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        y = exact(matrix, x, tokens)
        with np.errstate(over="ignore"):
            return y * np.float32(1e38 if matrix == MatrixId(1, "v") else 1.0) * np.float32(1e3)

    with pytest.raises(SimulationError, match=r"activations overflow.* \d\.\w+ is not finite"):
        Decoder(checkpoints["olmoe"]).score(windows, great, sequences=np.arange(5))
