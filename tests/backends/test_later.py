"""Questions to a device that are answered together, and what weights and tables are kept there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cimsim.backends.torch import memory
from cimsim.backends.torch.arrays import TorchBackend
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.memory import DeviceMemory, Kept
from cimsim.backends.torch.sending import constant, sent
from cimsim.errors import CimsimError


def _told(later: Later, found: list[tuple[float, ...]], *numbers: float) -> None:
    later.ask([torch.tensor(n) for n in numbers], lambda values: found.append(tuple(values)))


def test_questions_are_answered_at_the_end_in_the_order_in_which_they_came() -> None:
    later, found = Later(waits=True), []
    with later.together():
        _told(later, found, 3, 0.5)
        _told(later, found)
        with later.together():
            _told(later, found, -7)
        assert found == []
    assert found == [(3.0, 0.5), (), (-7.0,)]
    _told(later, found, 1 << 52)
    assert found[-1] == (float(1 << 52),)


@pytest.mark.parametrize("waits", [True, False])
def test_the_first_that_refuses_says_what_was_wrong_whatever_came_of_it(waits: bool) -> None:
    later = Later(waits=waits)

    def refuse(values: object) -> None:
        raise CimsimError("the cause")

    with pytest.raises(CimsimError, match="the cause"), later.together():
        later.ask([torch.tensor(1)], refuse)
        later.ask([torch.tensor(1)], lambda _: pytest.fail("after the cause"))
        raise ValueError
    with later.together():  # nothing of it is left
        pass


@pytest.mark.parametrize(
    ("last", "told"), [(1.0, []), (torch.inf, [True]), (-torch.inf, [True]), (torch.nan, [False])]
)
@pytest.mark.parametrize("waits", [True, False])
def test_what_is_not_finite_is_told_from_what_is_none(
    last: float, told: list[bool], waits: bool
) -> None:
    backend, found = TorchBackend("cpu"), []
    backend._later.waits = waits
    with backend.together():
        backend.refuse_infinite(torch.tensor([[3e38, -3e38], [3e38, last]]), found.append)
        assert (found == []) is (waits or not told)
    assert found == told


def test_numbers_of_several_types_are_answered_in_the_order_of_the_question() -> None:
    later, told = Later(waits=True), []
    with later.together():
        later.ask([torch.tensor([3], dtype=torch.int32), torch.tensor(2**40)], told.extend)
        later.ask([torch.tensor(0.5, dtype=torch.float64)], told.extend)
        later.ask([torch.tensor(7, dtype=torch.int32), torch.tensor(1.25)], told.extend)
    assert told == [3.0, 2.0**40, 0.5, 7.0, 1.25]


def test_weights_have_a_quarter_whoever_else_has_the_rest_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free, total = 60, 100
    monkeypatch.setattr(memory.torch.cuda, "mem_get_info", lambda _: (free, total))
    monkeypatch.setattr(memory.torch.cuda, "memory_allocated", lambda _: 0)
    monkeypatch.setattr(memory.torch.cuda, "memory_reserved", lambda _: 0)
    shared = DeviceMemory(torch.device("cuda"))
    assert shared.has_room_for_weights(20, 5)
    assert not shared.has_room_for_weights(20, 6)
    free = 13
    full = DeviceMemory(torch.device("cuda"))
    assert full.has_room_for_weights(0)
    assert not full.has_room_for_weights(0, 1)
    assert DeviceMemory(torch.device("cpu")).has_room_for_weights(10**15, 10**15)


def test_cells_have_two_thirds_of_what_is_free_and_forms_half_their_own_included(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory.torch.cuda, "mem_get_info", lambda _: (90, 140))
    monkeypatch.setattr(memory.torch.cuda, "memory_allocated", lambda _: 40)
    monkeypatch.setattr(memory.torch.cuda, "memory_reserved", lambda _: 40)
    device = DeviceMemory(torch.device("cuda"))
    assert device.copy_bytes() == 60
    assert device.copy_bytes(30) == 80
    assert device.form_bytes(30) == 60


def test_tables_are_copies_and_those_of_equal_values_are_one() -> None:
    values = np.array([1.5, 2.5], dtype=np.float32)
    copy, table = sent(values, "cpu"), constant(values, torch.device("cpu"))
    assert constant(values.copy(), torch.device("cpu")) is table
    assert constant(values.astype(np.float64), torch.device("cpu")).dtype == torch.float64
    values[0] = 9.0
    assert copy.tolist() == table.tolist() == [1.5, 2.5]
    assert constant(values, torch.device("cpu")).tolist() == [9.0, 2.5]


def test_of_passes_that_do_not_fit_what_was_read_first_stays() -> None:
    made: list[str] = []
    kept = Kept(lambda _held: 30)

    def read(names: str) -> None:
        for name in names:
            assert kept.get(name, 10, lambda name=name: made.append(name) or name) == name

    read("abcd")
    assert made == list("abcd")
    made.clear()
    read("abcd")  # three of four fit: where those read last went none would be there
    assert made == ["c"]
    read("abcd")
    assert made == ["c", "b"]
    kept.drop("d")
    assert kept.known("d") is None
    assert kept.known("c") == "c"
    kept.clear()
    made.clear()
    read("ab")
    assert made == ["a", "b"]
    read("ab")
    assert made == ["a", "b"]
