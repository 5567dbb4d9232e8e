"""Kernels against their slow twins, against hand values, and row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.model.kernels.attention import attend, rotate
from cimsim.model.kernels.product import product
from cimsim.model.kernels.rows import (
    add_weighted_rows,
    divergence,
    log_softmax,
    negative_log_likelihood,
    rms_norm,
    scale_rows_by_sigmoid,
    swiglu,
)
from cimsim.model.kernels.selection import select, select_in_groups
from cimsim.model.rotary import rotary_tables
from cimsim.workload.choice import GroupedChoice
from cimsim.workload.heads import Heads
from tests.twins import array_backend as twin

PLAIN = twin.PlainBackend()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(st.integers(1, 13), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_product_equals_its_twin(n: int, n_in: int, n_out: int, seed: int) -> None:
    x, w = normal(seed, n, n_in), normal(seed + 1, n_in, n_out)
    np.testing.assert_allclose(product(x, w), twin.product(x, w), rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("width", [28, 600])
def test_each_row_of_a_product_has_the_bits_that_it_has_alone(width: int) -> None:
    x, w = normal(0, 23, 65), normal(1, 65, width)
    whole = product(x, w)
    for size in (1, 2, 3, 5, 7):
        parts = [product(x[i : i + size], w) for i in range(0, 23, size)]
        assert np.array_equal(np.concatenate(parts).view(np.int32), whole.view(np.int32))


def test_product_with_rows_of_one_weight_is_exact() -> None:
    x = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)
    w = np.array([[1.0, 0.5], [10.0, 0.25], [100.0, -1.0]], dtype=np.float32)
    np.testing.assert_array_equal(product(x, w), [[421.0, -3.0]])


@given(st.integers(1, 9), st.integers(1, 50), st.integers(0, 99))
def test_log_softmax_equals_its_twin_and_sums_to_one(n: int, width: int, seed: int) -> None:
    logits = 4.0 * normal(seed, n, width)
    found = log_softmax(logits)
    np.testing.assert_allclose(found, twin.log_softmax(logits), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-5)


@given(st.integers(1, 9), st.integers(1, 50), st.integers(0, 99))
def test_divergence_equals_its_twin(n: int, width: int, seed: int) -> None:
    first, second = (twin.log_softmax(normal(seed + i, n, width)) for i in range(2))
    found = divergence(first, second)
    np.testing.assert_allclose(found, twin.divergence(first, second), rtol=1e-9, atol=1e-12)
    assert (found > -1e-6).all()
    assert divergence(first, first).tolist() == [0.0] * n


def test_divergence_by_hand() -> None:
    first = np.log(np.array([[0.5, 0.5]])).astype(np.float32)
    second = np.log(np.array([[0.25, 0.75]])).astype(np.float32)
    exact = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert divergence(first, second)[0] == pytest.approx(exact, rel=1e-6)


def test_rms_norm_by_hand() -> None:
    x = np.array([[3.0, 4.0]], dtype=np.float32)
    gain = np.array([1.0, 10.0], dtype=np.float32)
    root = np.sqrt(12.5 + 0.5)
    np.testing.assert_allclose(rms_norm(x, gain, 0.5), [[3 / root, 40 / root]], rtol=1e-6)


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (lambda x: rms_norm(x, x[0], 1e-5), lambda x: PLAIN.rms_norm(x, x[0], 1e-5)),
        (lambda x: swiglu(50 * x, x), lambda x: PLAIN.swiglu(50 * x, x)),
    ],
)
def test_row_kernels_equal_their_twins(
    fast: Callable[[np.ndarray], np.ndarray], slow: Callable[[np.ndarray], np.ndarray]
) -> None:
    x = normal(4, 17, 33)
    np.testing.assert_allclose(fast(x), slow(x), rtol=2e-6, atol=1e-7)


def test_swiglu_of_extreme_gates_is_finite() -> None:
    gate = np.array([[-1e4, 0.0, 1e4]], dtype=np.float32)
    np.testing.assert_array_equal(swiglu(gate, np.ones_like(gate)), [[0.0, 0.0, 1e4]])


def test_sigmoid_scaling_by_hand() -> None:
    y = np.array([[2.0], [2.0], [2.0]], dtype=np.float32)
    logit = np.array([[0.0], [200.0], [-200.0]], dtype=np.float32)
    np.testing.assert_allclose(scale_rows_by_sigmoid(y, logit), [[1.0], [2.0], [0.0]])


def test_weighted_rows_are_added_in_place() -> None:
    total = np.ones((3, 2), dtype=np.float32)
    rows, weight = np.array([2, 0]), np.array([0.5, 2.0], dtype=np.float32)
    add_weighted_rows(total, rows, weight, np.array([[2, 4], [1, 1]], dtype=np.float32))
    np.testing.assert_array_equal(total, [[3, 3], [1, 1], [2, 3]])


def test_negative_log_likelihood_equals_its_twin_and_the_uniform_value() -> None:
    logits, target = 20 * normal(5, 9, 31), np.arange(9)
    found = negative_log_likelihood(logits, target)
    np.testing.assert_allclose(found, PLAIN.negative_log_likelihood(logits, target), rtol=1e-12)
    flat = negative_log_likelihood(np.zeros((1, 31), np.float32), np.array([3]))
    np.testing.assert_allclose(flat, np.log(31))


@pytest.mark.parametrize("renormalise", [False, True])
def test_selection_equals_its_twin(renormalise: bool) -> None:
    logits = normal(6, 50, 12)
    fast = select(logits, 3, renormalise=renormalise, scale=1.5)
    slow = PLAIN.select(logits, 3, renormalise=renormalise, scale=1.5)
    np.testing.assert_array_equal(fast[0], slow[0])
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-6)


CHOICES = [
    GroupedChoice("softmax", 4, 2, "best", biased=False),
    GroupedChoice("sigmoid", 4, 2, "best_two", biased=True),
    GroupedChoice("sigmoid", 1, 1, "best_two", biased=True),
]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("renormalise", [False, True])
def test_selection_in_groups_equals_its_twin(choice: GroupedChoice, renormalise: bool) -> None:
    logits = normal(6, 50, 12)
    logits[3, 5] = -np.inf
    bias = normal(7, 12) if choice.biased else None
    fast = select_in_groups(logits, bias, 3, choice, renormalise=renormalise, scale=1.5)
    slow = PLAIN.select_in_groups(logits, bias, 3, choice, renormalise=renormalise, scale=1.5)
    np.testing.assert_array_equal(fast[0], slow[0])
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-6)
    assert 5 not in fast[0][3]


def test_experts_come_from_the_best_groups_and_gates_are_scores_without_the_bias() -> None:
    logits = np.array([[3.0, -3.0, 1.0, 1.0, 2.0, 2.0]], dtype=np.float32)
    best = GroupedChoice("softmax", 3, 1, "best", biased=False)
    assert select_in_groups(logits, None, 2, best, renormalise=False, scale=1.0)[0].tolist() == [
        [0, 1]
    ]
    two = GroupedChoice("sigmoid", 3, 2, "best_two", biased=True)
    bias = np.array([0, 0, 0, 5, 0, 0], dtype=np.float32)
    experts, gates = select_in_groups(logits, bias, 2, two, renormalise=True, scale=3.0)
    assert experts.tolist() == [[3, 4]]
    scores = 1.0 / (1.0 + np.exp(-np.array([1.0, 2.0])))
    np.testing.assert_allclose(gates[0], 3.0 * scores / scores.sum(), rtol=1e-6)


def test_equal_logits_go_to_the_lower_index() -> None:
    logits = np.array([[1.0, 2.0, 2.0, 1.0, 2.0]], dtype=np.float32)
    experts, gates = select(logits, 4, renormalise=True, scale=1.0)
    np.testing.assert_array_equal(experts, [[1, 2, 4, 0]])
    np.testing.assert_allclose(gates.sum(), 1.0, rtol=1e-6)


def test_masked_experts_have_no_share() -> None:
    logits = np.array([[0.0, -np.inf, 0.0]], dtype=np.float32)
    experts, gates = select(logits, 2, renormalise=False, scale=1.0)
    np.testing.assert_array_equal(experts, [[0, 2]])
    np.testing.assert_array_equal(gates, [[0.5, 0.5]])


def cache_of(k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(k.transpose(0, 1, 3, 2)), v


@pytest.mark.parametrize("head_dim", [6, 16])
def test_attention_equals_its_twin_with_grouped_heads(head_dim: int) -> None:
    k, v = cache_of(normal(7, 2, 2, 20, head_dim), normal(8, 2, 2, 20, head_dim))
    slot, position = np.array([0, 0, 1, 1, 0]), np.array([0, 19, 3, 7, 11])
    v = np.ascontiguousarray(v[..., : head_dim - 1])
    q, out = normal(9, 5, 6, head_dim), np.empty((5, 6, head_dim - 1), np.float32)
    attend(q, slot, position, k, v, np.float32(0.3), out)
    slow = PLAIN.attend(q, slot, position, k, v, 0.3)
    np.testing.assert_allclose(out, slow, rtol=1e-5, atol=1e-6)


def test_the_first_position_attends_to_itself_alone() -> None:
    k, v = cache_of(normal(7, 1, 1, 4, 8), normal(8, 1, 1, 4, 8))
    out = np.empty((1, 1, 8), np.float32)
    attend(normal(9, 1, 1, 8), np.array([0]), np.array([0]), k, v, np.float32(0.5), out)
    np.testing.assert_array_equal(out[0, 0], v[0, 0, 0])


def test_rotation_keeps_lengths_and_depends_on_distance_only() -> None:
    cos, sin = rotary_tables(Heads(1, 1, 8), 64)
    a, b = normal(1, 1, 1, 8), normal(2, 1, 1, 8)

    def score(p: int, q: int) -> float:
        x, y = a.copy(), b.copy()
        rotate(x, np.array([p]), cos, sin)
        rotate(y, np.array([q]), cos, sin)
        np.testing.assert_allclose((x**2).sum(), (a**2).sum(), rtol=1e-6)
        return float((x * y).sum())

    assert score(0, 5) == pytest.approx(score(40, 45), abs=1e-5)
    assert score(0, 5) != pytest.approx(score(0, 6), abs=1e-3)
