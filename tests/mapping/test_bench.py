"""The mapping bench measures what it says: slots of its chip, spare slots filled by both."""

from __future__ import annotations

import numpy as np

from cimsim.bench import mapping as bench
from cimsim.workload.shapes import shape_program
from cimsim.workload.synthetic import Popularity, synthetic_trace


def test_the_chip_has_a_quarter_of_its_slots_to_spare_and_round_robin_fills_them() -> None:
    chip = bench._chip(shape_program("olmoe-1b-7b"), "none")
    trace = synthetic_trace(
        chip.program, sequences=4, length=8, popularity=Popularity(skew=1.2), seed=0
    )
    placed = bench._place(chip, trace, "round_robin")
    copies = placed.placement.seats
    assert len(chip.units) == 1024
    assert len(copies) == 1280 == chip.mesh.n_tiles * bench.SLOTS_PER_TILE
    # A tile is one server: every expert sits in one PE, which is a whole tile.
    assert chip.config.tile.pes == 1
    assert all(len(placed.placement.tiles_of(seat)) == 1 for seat in copies)


def test_halves_of_a_trace_are_whole_sequences_that_do_not_overlap() -> None:
    program = shape_program("mixtral-8x7b")
    trace = synthetic_trace(program, sequences=6, length=4, popularity=Popularity(), seed=0)
    first, second = bench._half(trace, 0), bench._half(trace, 1)
    assert np.unique(first.sequence).tolist() == [0, 1, 2]
    assert np.unique(second.sequence).tolist() == [3, 4, 5]
    assert np.array_equal(np.concatenate([first.experts, second.experts]), trace.experts)
