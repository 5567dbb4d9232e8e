"""The power of the worst microsecond: by hand, and the same whichever windows are looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.stages import timing


def _worst(start: list[int], end: list[int], energy: list[float], span: int) -> float:
    """Return the energy of the worst window of 10 ps."""
    starts, ends = np.array(start, dtype=np.int64), np.array(end, dtype=np.int64)
    windows = timing._windows(starts, ends, 10, max(1, span // 10))
    return float(timing._spread(starts, ends, np.array(energy), windows, 10).max())


def test_energy_of_a_visit_is_spread_over_its_time() -> None:
    # 60 fJ over 30 ps are 20 a window; the second visit adds 5 to the window from 10 to 20.
    assert _worst([0, 12], [30, 17], [60.0, 5.0], 40) == pytest.approx(25.0)


@given(
    visits=st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 90), st.integers(1, 9)), min_size=1
    )
)
@settings(deadline=None, derandomize=True)
def test_windows_in_which_power_changes_hold_the_worst(
    visits: list[tuple[int, int, int]],
) -> None:
    start, length, energy = (list(each) for each in zip(*visits, strict=True))
    end = [s + n for s, n in zip(start, length, strict=True)]
    span = max(end) + 7
    every = _worst(start, end, [float(e) for e in energy], span)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "MOST_WINDOWS", 0)
        some = _worst(start, end, [float(e) for e in energy], span)
    assert some == pytest.approx(every, rel=1e-9, abs=1e-9)


def test_a_phase_of_an_hour_is_looked_at_in_the_windows_where_power_changes() -> None:
    hour = 3600 * 10**12
    start, end = np.array([0, hour - 10**9]), np.array([10**12, hour])
    assert timing._windows(start, end, 10**6, hour // 10**6).size <= 8
