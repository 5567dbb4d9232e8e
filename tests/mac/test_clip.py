"""Where columns are clipped if their cells err: the bound of least squared error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mac.clip import least_error_bounds


def _error(column: np.ndarray, bound: float, error_lsb: float, bits: int) -> float:
    """Return what a column errs by if nothing above a bound is stored: the plain twin."""
    lsb = bound / (2 ** (bits - 1) - 1)
    clipped = sum(max(abs(float(w)) - bound, 0.0) ** 2 for w in column)
    return clipped + len(column) * (error_lsb**2 + 1.0 / 12.0) * lsb**2


def test_bound_of_three_weights_is_that_of_a_calculation_by_hand() -> None:
    # q_max 1 (2 bits) and e^2 = 3/4 - 1/12 make c = 3/4: S_k / (k + 3 c) is 8 / 3.25, 12 / 4.25,
    # 13 / 5.25, and the second is the greatest: two weights are beyond 2.82.
    weight = np.array([[8.0], [-4.0], [1.0]], dtype=np.float32)
    found = least_error_bounds(weight, np.sqrt(3.0 / 4.0 - 1.0 / 12.0), 2)
    assert found == pytest.approx([12.0 / 4.25])


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(1, 40), st.sampled_from([0.0, 0.5, 2.2, 5.0, 20.0]), st.sampled_from([4, 8]))
def test_no_other_bound_errs_less(n: int, error_lsb: float, bits: int) -> None:
    weight = np.random.default_rng(n).standard_t(4, (n, 3)).astype(np.float32)
    for column, bound in zip(weight.T, least_error_bounds(weight, error_lsb, bits), strict=True):
        least = _error(column, float(bound), error_lsb, bits)
        tried = np.linspace(0.0, 1.2 * np.abs(column).max(), 400)
        assert least <= min(_error(column, float(b), error_lsb, bits) for b in tried) * (1 + 1e-6)


def test_cells_that_err_more_are_given_smaller_weights_and_zeros_stay_zeros() -> None:
    weight = np.random.default_rng(0).standard_normal((256, 1)).astype(np.float32)
    weight = np.concatenate([weight, np.zeros_like(weight)], axis=1)
    bounds = [least_error_bounds(weight, e, 8) for e in (0.0, 2.0, 5.0, 15.0)]
    greatest = np.abs(weight).max(axis=0)
    assert 0.99 * greatest[0] < bounds[0][0] < greatest[0]
    assert all(a[0] > b[0] for a, b in pairwise(bounds))
    assert all(b[1] == 0.0 for b in bounds)
