"""Latent attention on a chip: what is placed, how often it is visited, what the cache moves."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.chip import analog_units
from cimsim.config import ChipConfig
from cimsim.model import Checkpoint, Decoder, FloatLinear
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.timing import Replay, time_phase


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v2-lite"])
def test_projections_of_latent_attention_are_placed_visited_and_cached_once(
    name: str, checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    checkpoint = checkpoints[name]
    program, chip = checkpoint.program, ChipConfig(name="plain")
    whole = name == "deepseek-v3"
    unit = analog_units(program, chip)[0]
    stages = ["qkv", *(["q_b"] if whole else []), "k_b", "v_b", "o"]
    assert [stage for stage, _ in unit.stages()] == stages
    assert len(unit.tilings) == (4 if whole else 3) + 2 * 4
    scored = Decoder(checkpoint).score(windows[:2], FloatLinear(checkpoint), sequences=np.arange(2))
    placed = place_chip(chip, program, scored.trace)
    counts = time_phase(placed, Replay(scored.trace), None, name="prefill", batch=2).result.counts
    # A latent of 14 numbers and a key of 8 for each of 2 x 40 tokens in 2 layers.
    written = 2 * 80 * -(-22 * chip.memory.kv_bits // 8)
    assert counts.kv_write_bytes == written
    visits = {str(key): n for key, n in counts.unit_vectors.items()}
    assert visits["0.attention"] == 80
    pairs = 2 * 40 * 41 // 2
    assert counts.digital_macs["attention"] == 2 * pairs * 4 * (22 + 14)
