"""Matrices written on a device against those of `cimsim.mac`: cells, converters, folded forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cimsim.backends.torch.device_cells import (
    DeviceCells,
    writes_on_device,
)
from cimsim.backends.torch.digital_forms import ideal_on_device, range_on_device
from cimsim.backends.torch.held import hold, hold_faithful, hold_ideal
from cimsim.backends.torch.verdicts import Verdicts
from cimsim.config import Tile
from cimsim.config.load import find_chip, load_chip
from cimsim.mac import ProgrammedMatrix, calibrate_range, ideal_integer, program_matrix
from cimsim.workload.matrix import MatrixId
from tests.backends.helpers import KERNEL_TILES
from tests.mac.helpers import FIRST, make_tile, normal

CPU = torch.device("cpu")
# Converters that are never near their ends fold; the others say whether refusals agree.
WIDE: dict[str, Any] = {"adc": {"kind": "isaac", "bits": 12, "noise_lsb": 0.4, "offset_lsb": 0.2}}


def _same(ours: object, theirs: object) -> None:
    for name, value in vars(theirs).items():
        found = getattr(ours, name)
        if isinstance(value, Tensor):
            assert found.dtype == value.dtype, name
            assert torch.equal(found, value), name
        else:
            assert repr(found) == repr(value), name


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", [*KERNEL_TILES, "eflash_40nm"])
def test_written_matrices_are_those_of_the_host(name: str, wide: bool) -> None:
    rng = np.random.default_rng(3)
    weight, some = normal(rng, 150, 70), normal(rng, 40, 150)
    if name in KERNEL_TILES:
        sections = KERNEL_TILES[name]
        tile = make_tile(**(sections | WIDE if wide else sections))
    else:
        tile = load_chip(find_chip(name), ("tile.adc.bits=12",) if wide else ()).tile
    found = calibrate_range(weight, FIRST.matrix, tile, some)
    programmed = program_matrix(weight, tile, FIRST, found)
    assert isinstance(programmed, ProgrammedMatrix)
    writer = writes_on_device(tile, FIRST, 150, 70)
    if programmed.cells.squares is not None or 16 % programmed.formats.cells_per_weight:
        assert writer is None
        return
    assert writer is not None
    cells = DeviceCells.write(torch.from_numpy(weight.T.copy()), writer, found, {})
    _same(cells.held, hold(programmed, CPU))
    assert cells.mean_fraction == pytest.approx(programmed.cells.mean_fraction, rel=3e-3)
    ours, theirs = cells.folded(), hold_faithful(programmed, CPU)
    assert (ours is None) == (theirs is None)
    stored = torch.from_numpy(weight.T.copy())
    assert range_on_device(stored, FIRST.matrix, tile, torch.from_numpy(some)) == found
    if ours is not None and theirs is not None:
        _same(ours, theirs)


def test_some_of_these_matrices_fold_and_some_do_not() -> None:
    rng = np.random.default_rng(3)
    weight, some = normal(rng, 150, 70), normal(rng, 40, 150)
    folds = []
    for sections in (KERNEL_TILES["charge"] | WIDE, KERNEL_TILES["center_errors"]):
        tile = make_tile(**sections)
        found = calibrate_range(weight, FIRST.matrix, tile, some)
        writer = writes_on_device(tile, FIRST, 150, 70)
        assert writer is not None
        stored = torch.from_numpy(weight.T.copy())
        folds.append(DeviceCells.write(stored, writer, found, {}).folded() is not None)
    assert folds == [True, False]


def test_whether_a_matrix_folds_is_found_for_each_tile_that_holds_it() -> None:
    # A study writes the same weights by the same act into one kind of chip after another.
    rng = np.random.default_rng(3)
    weight, some = normal(rng, 150, 70), normal(rng, 40, 150)
    stored = torch.from_numpy(weight.T.copy())
    sections = KERNEL_TILES["charge"] | WIDE
    usual = make_tile(**sections)
    bent = make_tile(**(sections | {"adc": WIDE["adc"] | {"inl_lsb": 2.0}}))
    found = calibrate_range(weight, FIRST.matrix, usual, some)
    for order in ((usual, bent), (bent, usual), (usual, bent, usual)):
        verdicts = Verdicts()
        for tile in order:
            writer = writes_on_device(tile, FIRST, 150, 70)
            assert writer is not None
            cells = DeviceCells.write(stored, writer, found, verdicts.of(writer.tile))
            assert (cells.folded() is not None) == (tile is usual)
            assert (cells.folded() is not None) == (tile is usual)


@pytest.mark.parametrize("scale", ["per_matrix", "per_column"])
def test_exact_integers_are_those_of_the_host(scale: str) -> None:
    rng = np.random.default_rng(4)
    weight = normal(rng, 60, 20)
    tile = Tile.model_validate({"weight": {"scale": scale, "bits": 7}})
    found = calibrate_range(weight, MatrixId(0, "up", 1), tile, normal(rng, 30, 60))
    theirs = hold_ideal(ideal_integer(weight, tile, adc_range=found), CPU)
    ours = ideal_on_device(torch.from_numpy(weight.T.copy()), tile, theirs.matrix, found)
    _same(ours, theirs)
