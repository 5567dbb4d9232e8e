"""Values as bytes and back: whole, exact, and of known classes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimInternalError
from cimsim.results.packed import DamagedError, digest_of, pack, unpack


class Key(NamedTuple):
    layer: int
    part: str


@dataclass(frozen=True)
class Record:
    name: str
    values: np.ndarray
    by_key: dict[Key, float]


@dataclass(frozen=True)
class Other:
    name: str


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    found = unpack(pack(value), ())
    assert found == value
    assert digest_of(found) == digest_of(value)


def test_records_with_arrays_come_back_bit_by_bit() -> None:
    values = np.array([[0.1, np.nan], [np.inf, -0.0]], dtype=np.float32)
    record = Record("a", values, {Key(1, "experts"): 1 / 3})
    found = unpack(pack((record, np.int16(3), frozenset({(1, 2)}))), (Record, Key))
    assert found[0].values.tobytes() == values.tobytes()
    assert found[0].values.dtype == np.float32
    assert found[0].by_key == {(1, "experts"): 1 / 3}
    assert isinstance(next(iter(found[0].by_key)), Key)
    assert found[1] == 3
    assert found[1].dtype == np.int16
    assert found[2] == {(1, 2)}


@pytest.mark.parametrize("at", [0, 20, 90, -40, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    data = bytearray(pack({"a": np.arange(10)}))
    data[at] ^= 1
    with pytest.raises(DamagedError):
        unpack(bytes(data), ())


@pytest.mark.parametrize("length", [0, 10, 100, -1])
def test_a_torn_file_is_noticed(length: int) -> None:
    with pytest.raises(DamagedError):
        unpack(pack(list(range(100)))[:length], ())


def test_a_file_cannot_ask_for_a_class_that_its_reader_did_not_name() -> None:
    with pytest.raises(DamagedError, match="another version"):
        unpack(pack(Other("a")), (Record, Key))


def test_what_is_no_value_is_refused() -> None:
    for value in (object(), {"f": len}, np.array([object()])):
        with pytest.raises(CimsimInternalError, match="cannot be packed"):
            pack(value)


def test_digests_tell_types_and_shapes_apart() -> None:
    values = [1, 1.0, True, "1", (1,), [1], np.ones(1), np.ones((1, 1)), np.ones(1, np.float32)]
    assert len({digest_of(v) for v in values}) == len(values)
