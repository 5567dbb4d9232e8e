"""Two designs that differ in anything but their cells share the errors of every cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cimsim.mac import ProgrammedMatrix, Writing
from cimsim.mac import program as writer
from cimsim.workload.matrix import MatrixId
from tests.mac.helpers import FIRST, MATRIX, make_tile, normal, program

DEVICES: tuple[dict[str, Any], ...] = (
    {"kind": "pcm", "cell_bits": 2, "age_s": 3600.0, "stuck_low": 0.02, "stuck_high": 0.01},
    {"kind": "gaussian", "sigma": 2.0, "sigma_unit": "weight_lsb", "cell_bits": 7},
    {"kind": "reram", "cell_bits": 2, "verify": {"tolerance": 0.1, "attempts": 4}},
)
BASE: dict[str, Any] = {
    "crossbar": {"rows": 128, "cols": 128},
    "pe": {"crossbars": 8},
    "adc": {"kind": "isaac", "bits": 6, "per_pe": 8},
}
WEIGHT = normal(np.random.default_rng(0), 300, 70)


def levels(programmed: ProgrammedMatrix) -> NDArray[np.float64]:
    """Column values in levels."""
    return programmed.cells.wide().astype(np.float64) * programmed.cells.grid


@pytest.mark.parametrize("encoding", ["differential", "offset", "center"])
@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d["kind"])
def test_cells_do_not_depend_on_the_cut_over_crossbars_nor_on_what_reads_them(
    device: dict[str, Any], encoding: str
) -> None:
    bits = 8 if device["kind"] == "gaussian" and encoding == "differential" else 7
    base = BASE | {"device": device, "weight": {"bits": bits, "encoding": encoding}}
    first = program(WEIGHT, make_tile(**base))
    for change in (
        {"crossbar": {"rows": 256, "cols": 128}},
        {"crossbar": {"rows": 37, "cols": 100}},
        {"crossbar": {"rows": 128, "cols": 128, "rows_active": 16}},
        {"adc": {"kind": "isaac", "bits": 9, "per_pe": 1, "offset_lsb": 0.3}},
        {"pe": {"crossbars": 3}},
        {"dac": {"bits": 1}},
    ):
        other = program(WEIGHT, make_tile(**base | change))
        # Equal but for the grids on which sums are exact.
        grid = max(first.cells.grid, other.cells.grid)
        np.testing.assert_allclose(levels(first), levels(other), rtol=0, atol=grid, err_msg=change)


def test_unit_cells_do_not_depend_on_the_cut_of_rows() -> None:
    device = {"kind": "pcm", "cell_bits": 2, "age_s": 3600.0, "stuck_low": 0.05}
    base = BASE | {"device": device, "weight": {"encoding": "isaac"}}
    first = program(WEIGHT, make_tile(**base))
    other = program(WEIGHT, make_tile(**base | {"crossbar": {"rows": 256, "cols": 128}}))
    stored = first.formats.stored_columns * first.formats.n_out
    assert first.formats.units == 3
    units = [levels(p)[:, stored:] for p in (first, other)]
    grid = max(first.cells.grid, other.cells.grid)
    np.testing.assert_allclose(*units, rtol=0, atol=grid)
    assert len(np.unique(units[0])) > 300


@pytest.mark.parametrize(
    "sections",
    [
        {"device": DEVICES[0], "weight": {"encoding": "isaac"}},
        {"device": DEVICES[0] | {"drift_compensation": "global"}},
        {"device": DEVICES[2], "crossbar": {"rows": 64, "cols": 40, "wire_ohm": 1.0}},
    ],
    ids=["units", "compensation", "wires"],
)
def test_crossbars_that_are_written_together_make_no_difference(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = make_tile(**BASE | sections)
    together = program(WEIGHT, tile).cells
    monkeypatch.setattr(writer, "_STRIP_CELLS", 1)
    apart = program(WEIGHT, tile).cells
    np.testing.assert_array_equal(together.values, apart.values)
    if together.gain is not None and apart.gain is not None:
        np.testing.assert_array_equal(together.gain, apart.gain)


def test_stuck_cells_and_converters_stay_with_the_slot_and_errors_go_with_the_expert() -> None:
    device = {"kind": "gaussian", "sigma": 0.01, "sigma_unit": "frac_gmax", "cell_bits": 2,
              "stuck_high": 0.05}  # fmt: skip
    adc = BASE["adc"] | {"offset_lsb": 0.3, "gain_sigma": 0.01, "inl_lsb": 0.4}
    base = BASE | {"adc": adc, "weight": {"encoding": "offset"}}
    tile = make_tile(**base, device=device)
    exact = levels(program(WEIGHT, make_tile(**base, device={"kind": "ideal", "cell_bits": 2})))

    def errors(**fields: Any) -> tuple[NDArray[np.bool_], NDArray[np.float64], ProgrammedMatrix]:
        programmed = program(WEIGHT, tile, writing=replace(FIRST, **fields))
        error = levels(programmed) - exact
        return np.abs(error) > 0.5, error, programmed  # 1 % of the range is 0.03 levels

    stuck, error, first = errors(slot=4)
    other = MatrixId(2, "gate", 9)
    for same in ({"count": 3}, {"matrix": other}):
        again, found, programmed = errors(slot=4, **same)
        np.testing.assert_array_equal(stuck, again)
        assert abs(np.corrcoef(error[~stuck], found[~again])[0, 1]) < 0.05
        np.testing.assert_array_equal(
            first.cells.converters.of(0), programmed.cells.converters.of(0)
        )
    for silicon in ({"slot": 5}, {}, {"slot": 4, "matrix": other._replace(role="up")}):
        again, found, programmed = errors(**silicon)
        assert not np.array_equal(stuck, again)
        assert (first.cells.converters.of(0) != programmed.cells.converters.of(0)).any()
        if "matrix" not in silicon:
            # A cell that is stuck at the level it should have has no error.
            both = ~(stuck | again) & (error != 0.0) & (found != 0.0)
            np.testing.assert_array_equal(error[both], found[both])


def test_fewer_converters_are_some_of_those_of_a_design_with_more() -> None:
    def gains(per_pe: int) -> list[set[float]]:
        """Gains of the converters of each crossbar, of one row block on 10 crossbars of 8."""
        adc = {"kind": "isaac", "bits": 6, "per_pe": per_pe, "gain_sigma": 0.01}
        tile = make_tile(**BASE | {"adc": adc, "weight": {"bits": 8, "encoding": "offset"},
                                   "device": {"kind": "ideal", "cell_bits": 2},
                                   "crossbar": {"rows": 128, "cols": 28}})  # fmt: skip
        gain = program(WEIGHT, tile).cells.converters.gain[0].reshape(4, 10, 7)
        return [set(gain[:, crossbar].ravel().tolist()) for crossbar in range(10)]

    whole = gains(8)
    assert [len(own) for own in whole] == [1] * 10
    assert len(set.union(*whole)) == 10
    for per_pe in (1, 2, 3, 4):
        shared = [whole[c % 8 % per_pe + 8 * (c // 8)] for c in range(10)]
        assert gains(per_pe) == shared
    for own, more in zip(whole, gains(16), strict=True):
        assert own < more
        assert len(more) == 2


def test_rows_beyond_sixteen_bits_have_cells_of_their_own() -> None:
    tile = make_tile(crossbar={"rows": 8192, "cols": 8},
                     device={"kind": "pcm", "cell_bits": 4, "age_s": 3600.0})  # fmt: skip
    values = program(np.ones((70000, 1), np.float32), tile, writing=Writing(0, MATRIX)).cells.values
    assert not np.array_equal(values[:4000], values[65536:69536])
