"""Recorded routing and arrivals: what is accepted, and what is refused by name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.workload.arrivals import load_arrivals, poisson_arrivals_ps, trace_arrivals_ps
from cimsim.workload.shapes import DecoderShape, build_shape
from cimsim.workload.trace import RoutingTrace, load_trace, save_trace

# Eight experts of which a token visits two, in one layer.
PROGRAM = build_shape(DecoderShape("eight", "olmoe", 1, 32, 1, 1, 32, 64, 8, 2, 32))
GOOD = np.array([[[0, 1]], [[2, 3]]], dtype=np.int16)


def wide(*visits: int, dtype: type = np.int64) -> dict[str, object]:
    """Return a trace whose second token makes the given visits."""
    return {"experts": np.array([[[0, 1]], [visits]], dtype=dtype)}


def load(folder: Path, arrays: dict[str, object]) -> RoutingTrace:
    np.savez(folder / "t.npz", **arrays)  # type: ignore[arg-type]
    return load_trace(folder / "t.npz", PROGRAM)


def test_a_routing_trace_survives_being_saved_and_loaded(tmp_path: Path) -> None:
    trace = RoutingTrace(GOOD, np.array([0, 0]), np.array([4, 5]), 8)
    save_trace(trace, tmp_path / "t.npz")
    found = load_trace(tmp_path / "t.npz", PROGRAM)
    assert np.array_equal(found.experts, GOOD)
    assert found.experts.dtype == np.int16
    assert found.position.tolist() == [4, 5]
    assert found.n_experts == 8


def test_the_model_says_how_many_experts_there_are(tmp_path: Path) -> None:
    found = load(tmp_path, {"experts": GOOD})
    assert found.n_experts == 8
    assert found.load().tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_positions_that_a_trace_lacks_are_counted_in_every_sequence(tmp_path: Path) -> None:
    experts = np.tile(GOOD, (3, 1, 1))
    found = load(tmp_path, {"experts": experts, "sequence": np.array([2, 2, 2, 5, 5, 9])})
    assert found.position.tolist() == [0, 1, 2, 0, 1, 0]
    assert load(tmp_path, {"experts": experts}).position.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64, ">i4"])
def test_integers_of_any_width_are_read(dtype: type, tmp_path: Path) -> None:
    found = load(tmp_path, {"experts": GOOD.astype(dtype), "n_experts": np.array(8, dtype)})
    assert np.array_equal(found.experts, GOOD)


def numbers(sequence: list[int], position: list[int], dtype: type = np.int64) -> dict[str, object]:
    arrays = {"sequence": np.array(sequence, dtype), "position": np.array(position, dtype)}
    return {"experts": np.tile(GOOD, (2, 1, 1))[: len(sequence)], **arrays}


TWO = np.arange(2)
BAD: dict[str, tuple[dict[str, object], str]] = {
    "expert beyond the last": (wide(2, 8), r"token 1 .* layer 0 \(found 8\); allowed: 0 to 7"),
    "dropped": (wide(-1, 2), r"token 1 .*\(found -1\).*left out"),
    "65536": (wide(2, 65536), r"token 1 .*\(found 65536\)"),
    "-65534": (wide(-65534, 3), r"\(found -65534\)"),
    "unsigned": (wide(1, 65535, dtype=np.uint16), r"\(found 65535\)"),
    "2**63": (wide(1, 2**63 + 2, dtype=np.uint64), rf"\(found {2**63 + 2}\)"),
    "expert twice": (wide(5, 5), r"token 1 .* twice in MoE layer 0 \(found 5\)"),
    "another top-k": ({"experts": GOOD[:, :, :1]}, "1 MoE layers, top-1.*top-2 for eight"),
    "more layers": ({"experts": np.tile(GOOD, (1, 3, 1))}, "3 MoE layers, top-2.*allowed: 1 MoE"),
    "more experts": ({"experts": GOOD, "n_experts": 9}, r"n_experts: .*\(found 9\).*8 for eight"),
    "fewer experts": ({"experts": GOOD, "n_experts": 4}, r"n_experts: .*\(found 4\).*8 for eight"),
    "list": ({"experts": GOOD, "n_experts": [8, 8]}, "'n_experts' must be one whole number"),
    "list of one": ({"experts": GOOD, "n_experts": [8]}, "'n_experts' must be one whole number"),
    "no number": ({"experts": GOOD, "n_experts": np.nan}, "must be one whole number.*float64"),
    "word": ({"experts": GOOD, "n_experts": "eight"}, "must be one whole number.*<U5"),
    "no experts": ({"chosen": GOOD}, "no array 'experts'"),
    "objects": ({"experts": np.array([[[{}]]])}, "npz of plain arrays"),
    "fractions": ({"experts": GOOD.astype(float)}, "must be integers"),
    "truth values": ({"experts": GOOD.astype(bool)}, "must be integers"),
    "durations": ({"experts": GOOD.astype("m8[s]")}, "must be integers"),
    "two axes": ({"experts": GOOD[0]}, "must be integers of shape"),
    "no token": ({"experts": GOOD[:0]}, "must be integers of shape"),
    "NaN time": ({"experts": GOOD, "position": np.array([0, np.nan])}, "position.*float64"),
    "negative time": ({"experts": GOOD, "position": TWO - 1}, r"position.*token 0 \(found -1\)"),
    "huge time": (numbers([0, 0], [0, 2**63], np.uint64), rf"position.*token 1 \(found {2**63}\)"),
    "huge sequence": (numbers([0, 2**31], [0, 0]), rf"sequence.*token 1 \(found {2**31}\)"),
    "short": ({"experts": GOOD, "sequence": np.array([0])}, "one value per token"),
    "one number": ({"experts": GOOD, "sequence": 0}, "one value per token"),
    "text": ({"experts": GOOD, "sequence": np.array(["a", "b"])}, "'sequence' must be integers"),
    "falling": (numbers([1, 0], [0, 0]), "in order of sequence.*token 1 is not"),
    "mixed": (numbers([0, 1, 0], [0, 0, 1]), "token 2 .*sequence 0, position 1 after sequence 1"),
    "hole": (numbers([0, 0, 0], [0, 1, 3]), "token 2 .*position 3 after sequence 0, position 1"),
    "again": (numbers([0, 0], [1, 1]), "token 1 is not"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_routing_trace_is_refused_by_name(case: str, tmp_path: Path) -> None:
    arrays, says = BAD[case]
    with pytest.raises(CimsimError, match=says) as caught:
        load(tmp_path, arrays)
    assert "t.npz: " in caught.value.sentence()
    assert "\n" not in caught.value.sentence()


def saved(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array)  # type: ignore[arg-type]
    return file.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


def swollen(name: str, data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def encrypted(data: bytes) -> bytes:
    local, central = data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8
    marked = bytearray(data)
    marked[local] |= 1
    marked[central] |= 1
    return bytes(marked)


def damaged(data: bytes) -> bytes:
    at = data.index(GOOD.tobytes())
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


TORN = {
    "empty": b"",
    "torn": b"PK\x03\x04 torn",
    "no zip": b"not a zip",
    "zeros": bytes(200),
    "npy": saved(GOOD),
    "header": zipped("experts.npy", b"\x93NUMPY\x01\x00\x08\x00{'descr'"),
    "promise": zipped("experts.npy", saved(GOOD).replace(b"(2, 1, 2)", b"(9**99,1)")),
    "half": zipped("experts.npy", saved(GOOD)[:-3]),
    "too much": zipped("experts.npy", saved(GOOD) + b"more"),
    "715 GiB": zipped(
        "experts.npy", saved(GOOD).replace(b"(2, 1, 2), }        ", b"(48000000000, 1, 2)}")
    ),
    "bomb": swollen("experts.npy", saved(np.zeros((1 << 20, 4, 9), dtype=np.int64))),
    "encrypted": encrypted(zipped("experts.npy", saved(GOOD))),
    "compressed in another way": swollen("experts.npy", saved(GOOD), zipfile.ZIP_LZMA),
    "wrong checksum": damaged(zipped("experts.npy", saved(GOOD))),
    "huge directory": zipped("experts.npy", saved(GOOD))[:-10] + b"\xff\xff\xff\x7f" + bytes(6),
}


@pytest.mark.parametrize("case", TORN)
def test_a_torn_routing_trace_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "torn.npz"
    path.write_bytes(TORN[case])
    with pytest.raises(CimsimError, match=r"torn\.npz: not a routing trace"):
        load_trace(path, PROGRAM)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(zipped("experts", b"0 1\n2 3\n"))
    with pytest.raises(CimsimError, match="'experts' is not an array"):
        load_trace(tmp_path / "t.npz", PROGRAM)


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
