"""How matrices are cut over crossbars, against counts worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip import column_layout, tile_matrix
from cimsim.config import Crossbar, Dac, InputFormat, Pe, Tile, WeightFormat
from cimsim.config.device import IdealDevice
from cimsim.errors import CimsimError
from cimsim.workload.matrix import Matrix, MatrixId


def tile(**parts: object) -> Tile:
    base: dict[str, object] = {
        "crossbar": Crossbar(rows=128, cols=128),
        "weight": WeightFormat(bits=8, encoding="offset"),
        "input": InputFormat(bits=8),
        "dac": Dac(bits=1),
        "device": IdealDevice(cell_bits=2),
    }
    return Tile(**{**base, **parts})  # type: ignore[arg-type]


def matrix(n_in: int, n_out: int) -> Matrix:
    return Matrix(MatrixId(0, "q"), n_in, n_out)


def test_offset_weights_of_8_bits_take_four_2_bit_columns() -> None:
    layout = column_layout(tile())
    assert (layout.slices, layout.columns_per_weight, layout.weights_per_crossbar) == (4, 4, 32)
    assert layout.cycles == 8


def test_isaac_gives_up_one_column_for_the_unit_column() -> None:
    layout = column_layout(tile(weight=WeightFormat(bits=8, encoding="isaac")))
    assert (layout.unit_columns, layout.weights_per_crossbar) == (1, 31)


def test_differential_pair_stores_a_magnitude_of_seven_bits() -> None:
    layout = column_layout(tile(weight=WeightFormat(bits=8, encoding="differential")))
    assert (layout.slices, layout.columns_per_weight, layout.converted_per_weight) == (4, 8, 4)
    digital = column_layout(
        tile(weight=WeightFormat(bits=8, encoding="differential"), pe=Pe(subtract="digital"))
    )
    assert digital.converted_per_weight == 8


def test_two_phases_feed_seven_bit_magnitudes_twice() -> None:
    two = tile(input=InputFormat(bits=8, signed="two_phase"))
    assert column_layout(two).cycles == 14
    assert column_layout(two.model_copy(update={"dac": Dac(bits=4)})).cycles == 4


def test_one_bit_takes_one_cell_or_pair_and_one_cycle_of_a_sign() -> None:
    for encoding, columns in (("offset", 1), ("isaac", 1), ("center", 1), ("differential", 2)):
        layout = column_layout(tile(weight=WeightFormat(bits=1, encoding=encoding)))
        assert (layout.slices, layout.columns_per_weight) == (1, columns)
    for signed, cycles in (("twos_complement", 1), ("shift", 1), ("two_phase", 2)):
        assert column_layout(tile(input=InputFormat(bits=1, signed=signed))).cycles == cycles


def test_conversions_of_the_reference_case() -> None:
    """1024 x 1024, 256 rows, 4 slices, 8 cycles: 131,072 conversions per vector."""
    wide = tile(crossbar=Crossbar(rows=256, cols=4096))
    tiling = tile_matrix(matrix(1024, 1024), wide)
    assert tiling.crossbars == 4
    assert tiling.conversions_per_vector == 131_072
    charge = wide.model_copy(update={"pe": Pe(accumulate_cycles=True)})
    assert tile_matrix(matrix(1024, 1024), charge).conversions_per_vector == 131_072 // 8
    digital = Crossbar(kind="digital", rows=256, cols=4096)
    exact = tile_matrix(matrix(1024, 1024), charge.model_copy(update={"crossbar": digital}))
    assert (exact.conversions_per_vector, exact.reads_per_vector(0)) == (0, 8)


def test_edges_are_partly_filled() -> None:
    tiling = tile_matrix(matrix(300, 70), tile())
    assert tiling.row_blocks == (128, 128, 44)
    assert tiling.column_blocks == (32, 32, 6)
    assert tiling.crossbars == 9
    assert tiling.cells == 300 * 70 * 4


def test_rows_active_makes_row_groups() -> None:
    tiling = tile_matrix(
        matrix(200, 8), tile(crossbar=Crossbar(rows=128, cols=128, rows_active=32))
    )
    assert tiling.row_groups == (4, 3)
    assert tiling.reads_per_vector(0) == 32


def test_crossbar_narrower_than_a_weight_is_refused() -> None:
    with pytest.raises(CimsimError, match=r"tile\.crossbar\.cols"):
        column_layout(tile(crossbar=Crossbar(rows=128, cols=3)))


@given(
    n_in=st.integers(1, 700),
    n_out=st.integers(1, 700),
    rows=st.integers(1, 300),
    cols=st.integers(16, 300),
    cell=st.integers(1, 8),
    encoding=st.sampled_from(["differential", "offset", "isaac", "center"]),
)
def test_blocks_cover_the_matrix_and_fit_the_crossbar(
    n_in: int, n_out: int, rows: int, cols: int, cell: int, encoding: str
) -> None:
    weight = WeightFormat(bits=8, encoding=encoding)  # type: ignore[arg-type]
    shape = tile(
        crossbar=Crossbar(rows=rows, cols=cols), weight=weight, device=IdealDevice(cell_bits=cell)
    )
    tiling = tile_matrix(matrix(n_in, n_out), shape)
    assert sum(tiling.row_blocks) == n_in
    assert sum(tiling.column_blocks) == n_out
    assert max(tiling.row_blocks) <= rows
    assert all(tiling.physical_columns(c) <= cols for c in range(len(tiling.column_blocks)))
