"""Cells written by torch against those of the Numba tile: integers, levels, bytes on the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cimsim.backends.torch.held import hold
from cimsim.backends.torch.packed import cell_bytes
from cimsim.backends.torch.programming import (
    Writer,
    integers_of,
    levels_of,
    moments_of_weights,
    unit_levels,
)
from cimsim.errors import CimsimError
from cimsim.testing.slow_writing import column_values
from tests.backends.helpers import KERNEL_TILES
from tests.mac.helpers import FIRST, make_tile, normal, program

WRITTEN: dict[str, dict[str, Any]] = KERNEL_TILES | {
    "flash": {
        "device": {"kind": "eflash", "cell_bits": 8, "mean_lsb": 1.5},
        "weight": {"encoding": "differential"},
        "input": {"signed": "two_phase"},
    },
    "reram": {
        "device": {"kind": "reram", "cell_bits": 4, "on_off_ratio": 10.0},
        "weight": {"encoding": "differential", "scale": "per_column"},
        "input": {"signed": "two_phase"},
    },
}
WRITTEN["shift"] = WRITTEN["shift"] | {"device": WRITTEN["shift"]["device"] | {"cell_bits": 4}}


@pytest.mark.parametrize("name", list(WRITTEN))
def test_levels_are_those_of_the_numba_tile(name: str) -> None:
    rng, tile = np.random.default_rng(0), make_tile(**WRITTEN[name])
    weight = normal(rng, 96, 40)
    programmed = program(weight, tile, normal(rng, 30, 96))
    writer = Writer.of(tile, FIRST, 96, 40)
    integers = integers_of(torch.from_numpy(weight.T.copy()), writer)
    assert np.array_equal(integers.q.numpy().T, programmed.encoded.wq)
    assert np.array_equal(integers.scale.numpy(), programmed.encoded.scale)
    levels = levels_of(integers, writer).numpy()
    expected = column_values(programmed.encoded, tile, programmed.writing)
    if writer.formats.units:
        units = unit_levels(writer, torch.device("cpu")).numpy()
        assert np.array_equal(units.T, expected[:, -writer.formats.units :])
        expected = expected[:, : -writer.formats.units]
    assert np.array_equal(levels.reshape(-1, 96).T, expected)
    # ... and on the grid they are the cells that the tile multiplies with.
    held = hold(programmed, torch.device("cpu"))
    values = held.values.numpy()[:, : expected.shape[1]].T.reshape(levels.shape)
    assert np.array_equal(np.rint(levels * np.float32(1.0 / held.grid)), values)


@pytest.mark.parametrize("name", [name for name in WRITTEN if "isaac" not in name])
def test_moments_of_weights_are_those_of_written_cells(name: str) -> None:
    rng, tile = np.random.default_rng(1), make_tile(**WRITTEN[name])
    weight = torch.from_numpy(normal(rng, 200, 96))
    writer = Writer.of(tile, FIRST, 96, 200)
    integers = integers_of(weight, writer)
    levels = levels_of(integers, writer).double()
    counts = torch.from_numpy(writer.formats.column_weight())
    error = torch.einsum("snk,s->nk", levels, counts) - integers.q - integers.offset[:, None]
    mean, sigma = moments_of_weights(writer)
    at = integers.q.long() + (mean.numel() - 1) // 2
    z = (error - mean[at]) / sigma[at].clamp(min=1e-6)
    # Cells that would fall below zero conductance are held there: half of those at level 0.
    assert 0.4 < float(z.std()) < 1.1
    assert abs(float(z.mean())) < 0.5


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"weight": {"encoding": "isaac", "bits": 7},
          "device": {"kind": "ideal", "cell_bits": 2}}, "tile.weight.bits"),
        ({"weight": {"bits": 1}}, "tile.weight.bits"),
        ({"device": {"kind": "reram", "verify": {"tolerance": 0.1}}},
         "tile.device.verify.tolerance"),
        ({"device": {"kind": "pcm", "age_s": 60.0}}, "tile.device.age_s"),
        ({"device": {"kind": "reram", "stuck_low": 0.1}}, "tile.device.stuck_low"),
        ({"crossbar": {"wire_ohm": 1.0}}, "tile.crossbar.wire_ohm"),
        ({"device": {"kind": "reram", "cell_bits": 3}, "weight": {"encoding": "offset"}},
         "tile.device.cell_bits"),
    ],
)  # fmt: skip
def test_what_is_not_written_here_is_refused_by_name(sections: dict[str, Any], key: str) -> None:
    with pytest.raises(CimsimError, match=r"use cimsim|write with cimsim") as refused:
        Writer.of(make_tile(**sections), FIRST, 96, 40)
    assert refused.value.key == key


def test_cells_become_bytes_that_recombine() -> None:
    rng = np.random.default_rng(2)
    programmed = program(normal(rng, 200, 40), make_tile(**KERNEL_TILES["center_errors"]),
                         normal(rng, 30, 200))  # fmt: skip
    held = hold(programmed, torch.device("cpu"))
    packed = cell_bytes(held, None).long().reshape(4, 2, 40, 2, 128)
    whole = packed[:, 0] + 256 * packed[:, 1]
    for g, group in enumerate(held.formats.groups):
        rows = slice(group.start, group.stop)
        expected = held.values[rows].T.reshape(4, 40, -1)
        assert torch.equal(whole[:, :, g, : group.stop - group.start].float(), expected)
        assert not bool(whole[:, :, g, group.stop - group.start :].any())
