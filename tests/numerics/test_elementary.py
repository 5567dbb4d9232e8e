"""Elementary functions: close to the exact value, compiled twins with the same bits."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim import elementary
from cimsim.elementary_arrays import exp_number, exp_of, log_number, log_of

FINITE = st.floats(-750.0, 712.0)
POSITIVE = st.floats(5e-324, 1.7e308, exclude_min=False)


def _ulps(found: float, exact: Decimal) -> float:
    return float(abs(Decimal(found) - exact) / Decimal(math.ulp(found)))


@given(st.floats(-700.0, 709.0))
def test_exp_is_within_a_unit_and_a_half_of_the_last_place(x: float):
    with localcontext() as context:
        context.prec = 50
        assert _ulps(elementary.exp(x), Decimal(x).exp()) < 1.5


@given(POSITIVE)
def test_log_is_within_a_unit_and_a_half_of_the_last_place(x: float):
    found = elementary.log(x)
    with localcontext() as context:
        context.prec = 50
        exact = Decimal(x).ln()
        assert found == exact == 0 or _ulps(found, exact) < 1.5


@given(FINITE)
def test_compiled_exp_has_the_bits_of_the_plain_one(x: float):
    assert exp_number(x) == elementary.exp(x)


@given(POSITIVE)
def test_compiled_log_has_the_bits_of_the_plain_one(x: float):
    assert log_number(x) == elementary.log(x)


def test_arrays_keep_their_shape_and_have_the_bits_of_numbers():
    x = np.linspace(-5.0, 5.0, 35).reshape(5, 7)
    assert exp_of(x).tolist() == [[elementary.exp(v) for v in row] for row in x.tolist()]
    y = np.abs(x[:, ::2]) + 0.1
    assert log_of(y).tolist() == [[elementary.log(v) for v in row] for row in y.tolist()]
    assert exp_of(np.float64(1.0)).shape == ()


def test_ends_of_the_range():
    for exp in (elementary.exp, exp_number):
        assert exp(0.0) == 1.0
        assert exp(-math.inf) == exp(-746.0) == 0.0
        assert exp(math.inf) == exp(710.0) == math.inf
        assert math.isnan(exp(math.nan))
        assert exp(-745.0) == 5e-324
    for log in (elementary.log, log_number):
        assert log(1.0) == 0.0
        assert log(0.0) == -math.inf
        assert log(math.inf) == math.inf
        assert math.isnan(log(-1.0))
        assert math.isnan(log(math.nan))


@given(st.floats(-1e5, 1e5))
def test_cosine_and_sine(x: float):
    cos, sin = elementary.cos_sin(x)
    assert cos == pytest.approx(math.cos(x), abs=3e-16)
    assert sin == pytest.approx(math.sin(x), abs=3e-16)


@given(POSITIVE)
def test_whole_log2_is_that_of_the_power_of_two_below(x: float):
    k = elementary.whole_log2(x)
    assert math.ldexp(1.0, k) <= x
    assert k == 1023 or x < math.ldexp(1.0, k + 1)


def test_powers_of_two_are_exact():
    assert [elementary.log2(2.0**k) for k in range(-60, 61)] == list(range(-60, 61))
    assert [elementary.power(2.0, k) for k in range(-60, 61)] == [2.0**k for k in range(-60, 61)]
    assert elementary.power(10.0, 15) == 1e15


@given(st.floats(1e-3, 1e3), st.floats(-8.0, 8.0))
def test_power(base: float, exponent: float):
    assert elementary.power(base, exponent) == pytest.approx(base**exponent, rel=2e-14)
