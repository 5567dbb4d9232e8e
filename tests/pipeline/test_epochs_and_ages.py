"""A visit computes with the write and the age that its crossbars have when it is served.

Expected numbers are computed apart from the code that couples: the engine's own log says
when each visit began and each write ended; count and age follow by counting and subtracting,
and the tile is programmed from the weights with just these.
"""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_chip
from coupled_chip import CoupledRun, Product, run_phase
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mac import AgeGrid, Writing, program_matrix

STEP = 0.01
DRIFT = "tile.device.drift={nu: 0.2, nu_sigma: 0.05, t0_s: 1e-5}"
BASE = ("tile.pes=1", "tile.device.sigma=0.1", "tile.device.age_s=2e-5", DRIFT,
        "tile.device.read_noise={sigma: 0.05}", f"run.age_step={STEP}")  # fmt: skip
T0_S, START_S = 1e-5, 2e-5


def stepped(reference_s: float, age_s: float) -> float:
    """The age nearest to the true one of (reference + t0) exp(k step) - t0."""
    k = round(log((age_s + T0_S) / (reference_s + T0_S)) / STEP)
    return (reference_s + T0_S) * exp(k * STEP) - T0_S if k else reference_s


def expected(run: CoupledRun, product: Product, writing: Writing) -> np.ndarray:
    deployment, matrix = run.deployment, product.matrix
    weight = deployment.checkpoint.matrix(matrix)
    copy = program_matrix(weight, deployment.tile, writing, deployment.ranges[matrix])
    return copy.multiply(product.x, product.tokens, read_seed=0)


@pytest.mark.parametrize(("phase", "batch"), [("prefill", 1), ("decode", 8)])
def test_visits_of_switched_experts_see_the_last_write(
    phase: str, batch: int, tiny_model: Path
) -> None:
    config = tiny_chip("isaac", *BASE, "chip.tiles=6", "chip.switching=lru")
    run = run_phase(config, tiny_model, phase, batch)
    writes, slots = run.result.raw.writes, run.plan.slots
    starts = {(int(v[0]), int(v[2]), int(v[3])): int(v[6]) for v in run.result.raw.visits}
    slot_of = {int(site): i for i, site in enumerate(slots.site)}
    checked, fresh, again, ages = 0, 0, 0, set()
    for product in run.products[:: max(1, len(run.products) // 150)]:
        flight, site, expert = product.visit
        if product.matrix.part != "experts":
            continue
        slot = slot_of[site]
        # The log names the visit: it began when the numbers say so.
        assert starts[flight, site, expert] == product.start_ps
        done = writes[writes[:, 6] <= product.start_ps]
        ends = np.sort(done[done[:, 0] == slot, 6])
        if len(ends):
            age = stepped(0.0, (product.start_ps - int(ends[-1])) * 1e-12)
        else:
            age = stepped(START_S, START_S + product.start_ps * 1e-12)
            assert slots.initial[slot] == expert
        # How often this expert, and no other, had been written before, whatever the slot.
        count = int((done[:, 1] == expert).sum()) - (expert not in slots.initial)
        writing = Writing(0, product.matrix, count=count, slot=slot, age_s=age)
        np.testing.assert_array_equal(product.y, expected(run, product, writing))
        fresh += len(ends) > 0
        again += count > 0
        ages.add(age)
        checked += 1
    assert checked > 20
    assert fresh > 5
    assert again > 5
    assert len(ages) > 3


def resident(product: Product, age_s: float) -> Writing:
    return Writing(0, product.matrix, age_s=age_s)


def test_resident_matrices_grow_older_while_the_run_lasts(tiny_model: Path) -> None:
    config = tiny_chip("isaac", *BASE, "mapping.replicas=false")
    run = run_phase(config, tiny_model, "prefill", 1)
    ages = []
    for product in run.products[:: max(1, len(run.products) // 60)]:
        age = stepped(START_S, START_S + product.start_ps * 1e-12)
        np.testing.assert_array_equal(product.y, expected(run, product, resident(product, age)))
        ages.append(age)
    assert min(ages) == START_S
    assert max(ages) > 1.2 * START_S
    # The same visit at the age of the start would have given other numbers.
    last = run.products[-1]
    assert not np.array_equal(last.y, expected(run, last, resident(last, START_S)))


@settings(deadline=None, derandomize=True)
@given(
    t0=st.floats(1e-9, 1e3), reference=st.floats(0, 1e6), later=st.floats(0, 1e6),
    step=st.floats(1e-4, 0.5),
)  # fmt: skip
def test_a_stepped_age_is_within_half_a_step_of_the_true_one(
    t0: float, reference: float, later: float, step: float
) -> None:
    grid = AgeGrid(t0, step)
    found = grid.snap(reference, reference + later)
    assert abs(log((found + t0) / (reference + later + t0))) <= 0.5 * step * (1 + 1e-6) + 1e-12
    assert grid.still(reference, reference + later) == (found == reference)
    assert AgeGrid(t0, 0.0).snap(reference, reference + later) == reference + later
