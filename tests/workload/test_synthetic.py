"""Synthetic routing and arrivals: shares, correlation, drift, addressing."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.workload.arrivals import poisson_arrivals_ps, trace_arrivals_ps
from cimsim.workload.shapes import DecoderShape, build_shape
from cimsim.workload.synthetic import (
    Popularity,
    gamma_popularity,
    synthetic_trace,
    zipf_popularity,
)
from cimsim.workload.trace import RoutingTrace

PROGRAM = build_shape(DecoderShape("t", "olmoe", 2, 32, 1, 1, 32, 64, 16, 1, 32))
PAIRS = build_shape(DecoderShape("t", "olmoe", 2, 32, 1, 1, 32, 64, 16, 2, 32))


def route(popularity: Popularity, length: int = 4000, program=PROGRAM) -> RoutingTrace:  # type: ignore[no-untyped-def]
    return synthetic_trace(program, sequences=2, length=length, popularity=popularity, seed=3)


def test_single_choices_follow_the_popularity() -> None:
    load = route(Popularity(skew=1.0)).load()[0]
    shares = zipf_popularity(16, 1.0, 3, 0)
    sigma = np.sqrt(8000 * shares * (1 - shares))
    assert np.all(np.abs(load - 8000 * shares) < 4.5 * sigma)


def test_experts_of_a_token_are_distinct() -> None:
    trace = route(Popularity(skew=1.5), program=PAIRS)
    assert np.all(trace.experts[:, :, 0] != trace.experts[:, :, 1])


def test_a_tokens_experts_do_not_depend_on_how_many_others_there_are() -> None:
    short, long = route(Popularity(), 10), route(Popularity(), 20)
    assert np.array_equal(short.experts[:10], long.experts[:10])
    assert np.array_equal(short.experts[10:], long.experts[20:30])


def test_gamma_shares_grow_even_with_the_shape() -> None:
    uneven, even = (gamma_popularity(64, shape, 1, 0).std() for shape in (0.3, 30.0))
    assert uneven > 3 * even
    assert gamma_popularity(64, 1.0, 1, 0).sum() == pytest.approx(1.0)


def test_correlated_layers_share_information_and_independent_ones_do_not() -> None:
    def information(trace: RoutingTrace) -> float:
        joint = np.zeros((16, 16))
        np.add.at(joint, (trace.experts[:, 0, 0], trace.experts[:, 1, 0]), 1 / trace.n_tokens)
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        seen = joint > 0
        return float((joint[seen] * np.log(joint[seen] / product[seen])).sum())

    alone = information(route(Popularity(skew=2.0)))
    linked = information(route(Popularity(skew=2.0, correlation=1.0, topics=4)))
    # The bias of the estimate is about 15 x 15 / (2 x 8000) = 0.014 nats.
    assert alone < 0.03
    assert linked > 0.1


def test_drift_moves_popularity_along_the_sequence() -> None:
    trace = route(Popularity(skew=2.0, drift_tokens=400))
    early = np.bincount(trace.experts[trace.position < 400, 0, 0], minlength=16)
    late = np.bincount(trace.experts[trace.position >= 3600, 0, 0], minlength=16)
    assert early.argmax() == (late.argmax() + 9) % 16


@pytest.mark.parametrize(
    "options", [{"skew": -1.0}, {"correlation": 2.0}, {"topics": 0}, {"kind": "pareto"}]
)
def test_impossible_popularities_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(CimsimError):
        Popularity(**options)  # type: ignore[arg-type]


def test_poisson_gaps_have_the_mean_and_variance_of_an_exponential() -> None:
    times = poisson_arrivals_ps(100_000, 1e6, seed=1)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1e6, rel=0.015)
    assert gaps.std() == pytest.approx(1e6, rel=0.03)
    assert gaps.min() >= 0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(CimsimError, match="must be positive"):
        poisson_arrivals_ps(3, rate, seed=0)


@pytest.mark.parametrize("times", [[0.0, float("nan")], [1.0, 0.5], [-1.0, 2.0]])
def test_impossible_recorded_arrivals_are_refused(times: list[float]) -> None:
    with pytest.raises(CimsimError, match="arrival times must"):
        trace_arrivals_ps(np.array(times))


def test_recorded_arrivals_become_picoseconds() -> None:
    assert trace_arrivals_ps(np.array([0.0, 1e-6])).tolist() == [0, 1_000_000]
