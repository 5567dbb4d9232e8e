"""Which copy of a unit serves a token."""

from __future__ import annotations

import numpy as np

from cimsim.chip import copy_of_token, token_turn


def test_copies_take_turns_along_a_sequence_and_start_where_the_sequence_says() -> None:
    sequence = np.array([0, 0, 0, 0, 1, 1, 5])
    position = np.array([0, 1, 2, 3, 0, 1, 2])
    assert token_turn(sequence, position).tolist() == [0, 1, 2, 3, 1, 2, 7]
    assert copy_of_token(sequence, position, 3).tolist() == [0, 1, 2, 0, 1, 2, 1]
    assert copy_of_token(sequence, position, 1).tolist() == [0] * 7


def test_any_run_of_tokens_is_shared_evenly() -> None:
    position = np.arange(17, 17 + 4 * 25)
    served = np.bincount(copy_of_token(np.full(100, 3), position, 4))
    assert served.tolist() == [25] * 4
