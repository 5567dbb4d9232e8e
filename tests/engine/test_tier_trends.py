"""Trends of mixtures of experts on stacked tiers.

After Buechel et al., Nature Computational Science 2025, doi 10.1038/s43588-024-00753-x.

The figures of `docs/macros.md` are those of `decode`, at full size.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from cimsim.config.load import find_chip, load_chip
from cimsim.stages.scale import decode_window, fit_shape, route_shape
from cimsim.stages.timing import Replay, time_phase
from cimsim.workload.shapes import SHAPES, DecoderShape, build_shape
from tests.engine.chips import make_shape

# Llama-2-7B as one expert that every token takes; OLMoE-1B-7B has as many weights (6.9 G), takes
# 1.3 G of them a token and is the better model by its authors' account (arXiv 2409.02060).
DENSE = DecoderShape("dense-7b", "olmoe", 32, 4096, 32, 32, 128, 32000, 1, 1, 11008)
MIXTURE = SHAPES["olmoe-1b-7b"]


class Decoded(NamedTuple):
    """One token at a time, near the end of a full context."""

    latency_us: float
    compute_us: float
    energy_mj: float
    area_mm2: float
    switches: float


@cache
def decode(shape: DecoderShape, *overrides: str) -> Decoded:
    """Time and charge four tokens, routed evenly, on an isaac that just holds the model."""
    program = build_shape(shape)
    config = load_chip(find_chip("isaac"), ("noc.level=packet", *overrides))
    full = fit_shape(config, program)
    even = np.ones((len(program.moe_layers), program.n_experts))
    routed = Replay(route_shape(program, even, *decode_window(1, 4)))
    phase = time_phase(full, routed, {}, name="decode", batch=1)
    result = phase.result
    compute = result.parts_ps[:, result.parts.index("compute")].mean()
    return Decoded(
        float(result.latency_ps.mean()) / 1e6,
        float(compute) / 1e6,
        phase.energy_per_token_nj / 1e6,
        full.cost.area_mm2(),
        result.counts.tier_switches / result.tokens,
    )


def test_latency_steps_where_a_matrix_outgrows_the_crossbar_of_a_tile() -> None:
    """One matrix, 32 outputs wide, on a stack of crossbars of 128 rows: the head of a decoder."""

    def head_us(width: int) -> float:
        shape = make_shape(layers=1, d_model=width, head_dim=width // 2, experts=1, top_k=1,
                           vocabulary=32)  # fmt: skip
        one = ("tile.pes=1", "tile.pe.crossbars=1", "tile.adc.per_pe=1", "tile.tiers=2")
        return decode(shape, *one, "chip.analog_parts=[head]").compute_us

    small, whole, over, twice = map(head_us, (64, 128, 192, 256))
    assert small == whole  # below a crossbar the width costs nothing
    assert over == twice  # nor does it between the steps
    assert over - whole > 0.75 * whole  # two tiers, one after the other


def test_a_mixture_of_experts_lies_on_the_pareto_front_and_its_dense_equal_behind() -> None:
    dense, mixture = (decode(shape, "tile.tiers=16") for shape in (DENSE, MIXTURE))
    assert abs(mixture.area_mm2 / dense.area_mm2 - 1.0) < 0.05  # both hold 6.9 G weights
    assert mixture.latency_us < 0.5 * dense.latency_us
    assert mixture.energy_mj < 0.5 * dense.energy_mj


def test_stacking_trades_area_for_little_time_where_experts_are_chosen() -> None:
    flat, stacked = (decode(MIXTURE, f"tile.tiers={tiers}") for tiers in (1, 16))
    assert stacked.area_mm2 < 0.08 * flat.area_mm2
    assert stacked.latency_us < 1.1 * flat.latency_us
    assert stacked.energy_mj < flat.energy_mj  # less area leaks
    assert flat.switches == 0.0 < stacked.switches


def test_stacks_that_are_slow_to_switch_cost_time() -> None:
    fast, slow = (
        decode(MIXTURE, "tile.tiers=16", f"tile.tier_switch_ns={ns}") for ns in (0, 10_000)
    )
    assert slow.latency_us > fast.latency_us
