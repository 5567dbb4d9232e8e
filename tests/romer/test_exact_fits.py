"""Fits whose bits do not depend on the order of sums: exact Gram matrices, fixed factorisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimInternalError
from romer.exact_sums import column_moments, column_products, gram_matrix
from romer.factorise import Cholesky, leading_rows, multiply

SIZES = st.integers(1, 70)


def _states(seed: int, n: int, columns: int) -> np.ndarray:
    """Channels of very different size, one of them always zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns)) * np.exp(4.0 * rng.normal(size=columns))
    x[:, 0] = 0.0
    return x.astype(np.float32)


@given(st.integers(1, 300), SIZES, SIZES, st.integers(0, 99))
def test_a_gram_matrix_has_the_same_bits_in_any_order_of_tokens(
    n: int, left: int, right: int, seed: int
) -> None:
    x, y = _states(seed, n, left), _states(seed + 1, n, right)
    order = np.random.default_rng(seed).permutation(n)
    found = gram_matrix(x, y)
    assert np.array_equal(found, gram_matrix(x[order], y[order]))
    # One product at a time, in Python's own integers, is a third order.
    assert found[-1, -1] == gram_matrix(x[:, -1:], y[:, -1:])[0, 0]


@given(st.integers(1, 300), SIZES, st.integers(0, 99))
def test_sums_over_columns_have_the_same_bits_in_any_order_of_tokens(
    n: int, columns: int, seed: int
) -> None:
    x, y = _states(seed, n, columns), _states(seed + 1, n, columns)
    order = np.random.default_rng(seed).permutation(n)
    sums = column_moments(x, y)
    for found, again in zip(sums, column_moments(x[order], y[order]), strict=True):
        assert np.array_equal(found, again)
    assert np.array_equal(sums.xx, column_products(x, x))
    assert np.array_equal(sums.xy, column_products(x, y))
    assert np.array_equal(column_products(x, y), column_products(x[order], y[order]))
    assert np.array_equal(column_products(x, y), np.diag(gram_matrix(x, y)))


def test_whole_numbers_are_summed_exactly() -> None:
    x = np.arange(-300, 300, dtype=np.float32).reshape(200, 3)
    wide = x.astype(np.int64)
    assert np.array_equal(gram_matrix(x, x), wide.T @ wide)
    sums = column_moments(x, 2 * x)
    assert np.array_equal(sums.x, wide.sum(axis=0))
    assert np.array_equal(sums.y, 2 * wide.sum(axis=0))


def test_the_grid_costs_millionths_at_65536_tokens() -> None:
    x = _states(3, 65536, 4)[:, 1:]
    exact = x.astype(np.float64).T @ x.astype(np.float64)
    size = np.sqrt(np.diag(exact))
    assert (np.abs(gram_matrix(x, x) - exact) / np.outer(size, size)).max() < 1e-6


@pytest.mark.parametrize("d", [1, 5, 64, 65, 130])
def test_a_solve_agrees_with_lapack(d: int) -> None:
    rng = np.random.default_rng(d)
    root = rng.normal(size=(d, d))
    matrix, right = root @ root.T + d * np.eye(d), rng.normal(size=(d, 7))
    found = Cholesky(matrix)
    half = found.half(right)
    np.testing.assert_allclose(found.rest(half), np.linalg.solve(matrix, right), rtol=1e-9)
    np.testing.assert_allclose(half.T @ half, right.T @ np.linalg.solve(matrix, right), rtol=1e-9)


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(CimsimInternalError, match="positive definite"):
        Cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_a_product_agrees_with_blas() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 13)), rng.normal(size=(13, 5))
    np.testing.assert_allclose(multiply(a, b), a @ b, rtol=1e-12)


def test_leading_rows_hold_the_energy_of_the_best_subspace() -> None:
    rng = np.random.default_rng(1)
    left, _ = np.linalg.qr(rng.normal(size=(60, 40)))
    right, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    values = 0.9 ** np.arange(40)
    matrix = (left * values) @ right.T
    rows = leading_rows(matrix, 6)
    np.testing.assert_allclose(rows @ rows.T, np.eye(6), atol=1e-12)
    assert np.sum((matrix @ rows.T) ** 2) > 0.995 * np.sum(values[:6] ** 2)


def test_rows_beyond_the_rank_are_zero() -> None:
    matrix = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 6.0))
    rows = leading_rows(matrix, 3)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1.0, 0.0, 0.0])
    np.testing.assert_allclose(matrix @ rows.T @ rows, matrix, rtol=1e-12)
