"""Copies of attention and routers on a real chip: programmed in idle crossbars, averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.model import Replica, identity
from cimsim.stages.compute import NUMBA
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer.study.studied_design import StudiedDesign
from romer.study.subject import CleanModel


@pytest.fixture(scope="module")
def design() -> StudiedDesign:
    knobs = (
        "tile.device.sigma_lsb=8",
        "workload.context=64",
        "calibration.tokens=256",
        "mapping.replicas=false",
    )
    return StudiedDesign.open(
        load_chip(find_chip("eflash_40nm"), knobs), CleanModel("olmoe-tiny", 64, NUMBA)
    )


def test_the_mean_of_copies_has_less_error_than_one(design: StudiedDesign) -> None:
    chip = design.deploy(0)
    matrix = MatrixId(0, "v")
    x = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    keys = TokenKeys(np.zeros(64, dtype=np.int64), np.arange(64, dtype=np.int64))
    clean = design.digital(matrix, x, keys)
    errors = {}
    for copies in (1, 2, 4):
        correction = identity("m", "c")
        if copies > 1:
            correction = replace(correction, replicas=(Replica(0, -1, copies, "attention"),))
        linear = chip.linear(correction, read_seed=1, mode="folded")
        errors[copies] = float(np.mean((linear(matrix, x, keys) - clean) ** 2))
    assert errors[2] / errors[1] == pytest.approx(1 / 2, rel=0.1)
    assert errors[4] / errors[1] == pytest.approx(1 / 4, rel=0.15)
    # A matrix that is not copied is read as before.
    same = [
        chip.linear(c, read_seed=1, mode="folded")(MatrixId(1, "v"), x, keys)
        for c in (identity("m", "c"), correction)
    ]
    assert np.array_equal(*same)


def test_copies_that_do_not_fit_are_refused_with_the_knob(design: StudiedDesign) -> None:
    chip = design.deploy(0)
    room = chip.room_for(("attention", "router"))
    placement = design.placed.placement
    used = sum(len(seat.crossbars) for seat in placement.seats)
    idle = placement.n_tiles * placement.crossbars_per_tile - used
    # Four layers of four attention matrices and a router, a crossbar each.
    assert room == idle // 20 > 0
    many = replace(identity("m", "c"), replicas=(Replica(0, -1, 99, "attention"),))
    with pytest.raises(CimsimError, match=r"chip\.spare_fraction"):
        chip.linear(many, read_seed=1, mode="folded")
