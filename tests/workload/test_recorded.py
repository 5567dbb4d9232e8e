"""Recorded routing and arrivals: what is accepted, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.workload.arrivals import load_arrivals, poisson_arrivals_ps, trace_arrivals_ps
from cimsim.workload.trace import RoutingTrace, load_trace, save_trace

GOOD = np.array([[[0, 1]], [[2, 3]]], dtype=np.int16)


def test_a_routing_trace_survives_being_saved_and_loaded(tmp_path: Path) -> None:
    trace = RoutingTrace(GOOD, np.array([0, 0]), np.array([4, 5]), 8)
    save_trace(trace, tmp_path / "t.npz")
    found = load_trace(tmp_path / "t.npz")
    assert np.array_equal(found.experts, GOOD)
    assert found.position.tolist() == [4, 5]
    assert found.n_experts == 8


BAD: dict[str, tuple[dict[str, object], str]] = {
    "expert out of range": ({"experts": GOOD, "n_experts": 3}, "does not have"),
    "negative expert": ({"experts": GOOD - 1}, "does not have"),
    "expert twice": ({"experts": GOOD * 0}, "token 0 .* twice in layer 0"),
    "no experts": ({"chosen": GOOD}, "no array 'experts'"),
    "fractions": ({"experts": GOOD.astype(float)}, "must be integers"),
    "two axes": ({"experts": GOOD[0]}, "must be integers of shape"),
    "NaN time": ({"experts": GOOD, "position": np.array([0, np.nan])}, "position.*nan at token 1"),
    "negative time": ({"experts": GOOD, "position": np.array([-1, 0])}, "position.*-1 at token 0"),
    "short": ({"experts": GOOD, "sequence": np.array([0])}, "one value a token"),
    "text": ({"experts": GOOD, "sequence": np.array(["a", "b"])}, "'sequence' must be integers"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_routing_trace_is_refused_by_name(case: str, tmp_path: Path) -> None:
    arrays, says = BAD[case]
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(CimsimError, match=says):
        load_trace(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", b"not a zip", bytes(200)])
def test_a_torn_routing_trace_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "torn.npz"
    path.write_bytes(data)
    with pytest.raises(CimsimError, match=r"torn\.npz: not a routing trace"):
        load_trace(path)


def test_arrivals_are_read_in_whole_picoseconds(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("# warm\n0\n 1e-9 \n\n0.5\n")
    assert load_arrivals(path).tolist() == [0, 1000, 500_000_000_000]
    path.write_text("\ufeff0\r\n1e-9\r\n")  # as an editor on Windows saves it
    assert load_arrivals(path).tolist() == [0, 1000]


@pytest.mark.parametrize("line", ["nan", "inf", "-1", "soon", "0.0005", "1e7"])
def test_a_bad_arrival_time_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"0\n0.001\n{line}\n")
    with pytest.raises(CimsimError, match=r"a\.txt:3: is not an arrival time"):
        load_arrivals(path)


def test_no_arrival_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# nothing\n")
    with pytest.raises(CimsimError, match="holds no arrival time"):
        load_arrivals(tmp_path / "a.txt")
    with pytest.raises(CimsimError, match="file of arrival times not found"):
        load_arrivals(tmp_path / "none.txt")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 1e-9])
def test_an_arrival_rate_must_be_positive_and_finite(rate: float) -> None:
    with pytest.raises(CimsimError, match="arrival rate"):
        poisson_arrivals_ps(10, rate, 0)


def test_poisson_gaps_have_the_mean_and_variance_of_their_law() -> None:
    gaps = np.diff(poisson_arrivals_ps(200_001, 1e6, 3)) * 1e-6  # in us, mean 1
    assert gaps.mean() == pytest.approx(1.0, rel=0.01)
    assert gaps.var() == pytest.approx(1.0, rel=0.03)


def test_recorded_times_must_rise() -> None:
    assert trace_arrivals_ps(np.array([0.0, 1e-12])).tolist() == [0, 1]
    with pytest.raises(CimsimError, match="rise"):
        trace_arrivals_ps(np.array([1.0, 0.5]))
    with pytest.raises(CimsimError, match="finite"):
        trace_arrivals_ps(np.array([np.nan]))
