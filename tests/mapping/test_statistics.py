"""Statistics of routing traces, by hand."""

import numpy as np
import pytest

from cimsim.errors import CimsimError
from moe_mapping import statistics

TRACE = np.array([[[0, 1], [2, 0]], [[1, 2], [2, 3]], [[0, 1], [2, 1]]], dtype=np.int16)


def test_load_counts_visits_of_every_layer() -> None:
    assert statistics.load(TRACE, 4).tolist() == [[2, 3, 1, 0], [1, 1, 3, 1]]


def test_windows_add_up_to_the_load() -> None:
    windows = statistics.window_loads(TRACE, 4, 2)
    assert windows.shape == (2, 2, 4)
    assert windows[1].tolist() == [[1, 1, 0, 0], [0, 1, 1, 0]]
    assert (windows.sum(axis=0) == statistics.load(TRACE, 4)).all()


def test_coactivation_counts_pairs_of_one_token() -> None:
    counts = statistics.coactivation(TRACE, 4, 0)
    assert counts[0, 1] == 2 and counts[1, 2] == 1 and counts.sum() == 6
    assert (counts == counts.T).all() and not counts.diagonal().any()


def test_transitions_count_pairs_of_successive_layers() -> None:
    counts = statistics.transitions(TRACE, 4, 0)
    assert counts[1].tolist() == [1, 1, 3, 1]
    assert counts.sum() == 3 * 2 * 2
    with pytest.raises(CimsimError, match="followed by another"):
        statistics.transitions(TRACE, 4, 1)


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (np.zeros((2, 2), dtype=int), "shape"),
        (np.zeros((2, 2, 1)), "integers"),
        (np.full((1, 1, 1), 4), "does not exist"),
        (np.full((1, 1, 1), -1), "does not exist"),
    ],
)
def test_bad_traces_are_refused(trace: np.ndarray, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        statistics.load(trace, 4)
