"""The ledger charges exactly the conversions that the functional tile performs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cimsim.chip import Unit, UnitKey, build_mesh, tile_matrix
from cimsim.cost import ActionCounts, CostModel, Density, Ledger
from cimsim.mac import MacStatistics, Writing, calibrate_range, program_matrix
from cimsim.workload.matrix import Matrix, MatrixId, TokenKeys
from tests.cost.chips import chip

MATRIX = MatrixId(0, "dense_up")
VECTORS = 5


@pytest.mark.parametrize(
    "tile",
    [
        {"weight": {"bits": 8, "encoding": "offset"}},
        {"weight": {"bits": 8, "encoding": "isaac"}, "crossbar": {"rows": 64, "cols": 65}},
        {"weight": {"bits": 8, "encoding": "differential"}, "device": {"cell_bits": 7}},
        {"weight": {"bits": 6, "encoding": "differential"}, "pe": {"subtract": "digital"}},
        {"weight": {"bits": 8, "encoding": "offset"}, "crossbar": {"rows": 64, "rows_active": 16}},
        {"weight": {"bits": 8, "encoding": "offset"}, "pe": {"accumulate_cycles": True}},
        {"input": {"bits": 8, "signed": "two_phase"}, "dac": {"bits": 4}},
        {"weight": {"bits": 1, "encoding": "offset"}},
        {"weight": {"bits": 1, "encoding": "differential"}, "pe": {"subtract": "digital"}},
        {"weight": {"bits": 1, "encoding": "isaac"}, "input": {"bits": 1, "signed": "shift"}},
        {"weight": {"bits": 8, "encoding": "offset"}, "input": {"bits": 1}},
        {"input": {"bits": 1, "signed": "two_phase"}, "dac": {"bits": 4}},
    ],
)
def test_functional_tile_and_ledger_count_the_same(tile: dict[str, Any]) -> None:
    device = {"kind": "ideal", **tile.get("device", {})}
    config = chip(tile={**tile, "device": device})
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((150, 70)).astype(np.float32)
    x = rng.standard_normal((VECTORS, 150)).astype(np.float32)
    tiling = tile_matrix(Matrix(MATRIX, 150, 70), config.tile)
    programmed = program_matrix(
        weight, config.tile, Writing(0, MATRIX), calibrate_range(weight, MATRIX, config.tile, x)
    )
    statistics = MacStatistics()
    keys = TokenKeys(np.zeros(VECTORS, dtype=np.int64), np.arange(VECTORS, dtype=np.int64))
    programmed.multiply(x, keys, read_seed=0, mode="detailed", statistics=statistics)
    unit = Unit(UnitKey(0, "shared"), (tiling,))
    cost = CostModel(config, build_mesh(config, tiling.crossbars), None, units=(unit,))
    ledger = Ledger()
    measured = Density(0.3, 0.3)
    counts = ActionCounts("prefill", VECTORS, 1000, {unit.key: VECTORS})
    cost.charge(ledger, counts, {unit.key: measured})
    charged = next(r.count for r in ledger if r.component == "adc")
    assert charged == statistics.conversions
    assert charged == programmed.codes(x, keys, read_seed=0).size
