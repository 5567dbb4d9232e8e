"""Copies in idle crossbars: the same chip answers sooner when load is skewed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cimsim.cli.romer import app
from cimsim.errors import CimsimError


def replicas(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["replicas", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_copies_cut_the_latency_tail_of_a_skewed_load_by_a_fifth_or_more() -> None:
    found = json.loads(replicas("eflash_40nm", "--skew", "1", "--context", "16", "--json"))
    assert found["load_cv"] > 1.0
    assert found["expert_copies"] + found["dense_copies"] > 0
    before, after = found["p99_us"]
    assert found["p99_reduction"] == pytest.approx(1 - after / before)
    assert found["p99_reduction"] >= 0.2
    assert found["tile_max_mean"][1] < found["tile_max_mean"][0]


def test_a_chip_without_idle_crossbars_is_refused_with_the_knob() -> None:
    with pytest.raises(CimsimError, match="no crossbar is idle") as caught:
        replicas("eflash_40nm", "--skew", "1", "--context", "4", "--set", "chip.spare_fraction=0",
                 "--set", "tile.pes=1", "--set", "tile.pe.crossbars=3")  # fmt: skip
    assert caught.value.key == "chip.spare_fraction"
