"""The mapping bench measures what it says: slots of its chip, spare slots filled by both."""

from __future__ import annotations

import numpy as np

from cimsim.bench import mapping as bench
from cimsim.bench.mapping_chip import SLOTS_PER_TILE, place_on, slot_chip
from cimsim.workload.shapes import shape_program
from cimsim.workload.synthetic import Popularity, synthetic_trace


def test_the_chip_has_a_quarter_of_its_slots_to_spare_and_round_robin_fills_them() -> None:
    chip = slot_chip(shape_program("olmoe-1b-7b"), "none")
    trace = synthetic_trace(
        chip.program, sequences=4, length=8, popularity=Popularity(skew=1.2), seed=0
    )
    placed = place_on(chip, trace, "round_robin")
    copies = placed.placement.seats
    assert len(chip.units) == 1024
    assert len(copies) == 1280 == chip.mesh.n_tiles * SLOTS_PER_TILE
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


def test_an_evenly_loaded_chip_makes_visits_wait_as_at_one_server_each() -> None:
    chip = slot_chip(shape_program("olmoe-1b-7b"), "none")
    load, interval_ps = 0.2, chip.cost.visit_timing(chip.units[0]).interval_ps
    queue_ps = bench._even_queue_ps(chip, load, 2000, seed=0)
    # Pollaczek and Khinchin: a visit waits load / (2 (1 - load)) intervals on average; the
    # slowest of eight waits longer than one and less than all eight.
    one = len(chip.program.moe_layers) * interval_ps * load / (2 * (1 - load))
    assert one < queue_ps.mean() < chip.program.top_k * one
    assert bench._even_queue_ps(chip, 0.01, 2000, seed=0).mean() < 0.1 * queue_ps.mean()
