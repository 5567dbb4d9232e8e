"""What a run says of calibrating its chips: parts, cost, shards of text, yield."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cimsim.errors import CimsimError
from cimsim.model.text import perplexity
from cimsim.stages.chip_seed import ChipSeeds
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.models import read_text
from cimsim.stages.subject import open_subject
from tests.pipeline.conftest import Runner, tiny_chip

NOISY = ("tile.device.sigma_lsb=8", "calibration.tokens=512")
ONE = (*NOISY, "calibration.method=clip_columns", "run.chip_seeds=1")


def test_parts_are_the_losses_before_and_after_each_step(
    run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    row = run_tiny("eflash_40nm", *ONE).row
    found = seen[0].accuracy.seeds[0].calibration
    (verdict,) = found.verdicts
    assert verdict.kept
    start = float(found.start_nats or 0.0)
    parts = f"before {start:.3g}; clip_columns {start - verdict.gain_nats:.3g}"
    assert row["calibration_parts"] == parts


def test_text_that_passes_a_chip_costs_what_prefill_costs_and_is_shared_out(
    run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    row = run_tiny("eflash_40nm", *ONE, "calibration.life_tokens=1e6").row
    # ACCEPT text before and after the step; clipping reads no FIT text. A fifth of 32 windows.
    assert row["calibration_pass_tokens"] == 2 * 6 * 16
    prefill = seen[0].before.prefill
    energy = row["calibration_energy_nj"] + 192 * prefill.energy_per_token_nj
    assert row["calibration_all_energy_nj"] == pytest.approx(energy)
    time = row["calibration_time_us"] + 192 * 1e6 / prefill.tokens_per_s
    assert row["calibration_all_time_us"] == pytest.approx(time)
    assert row["calibration_energy_per_token_nj"] == pytest.approx(energy / 1e6)
    assert row["calibration_writes_per_token"] == row["calibration_cells_written"] / 1e6


def test_a_chip_that_drifts_is_calibrated_every_interval(
    run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    row = run_tiny("eflash_40nm", *ONE, "calibration.interval_hours=1e-6").row
    served = seen[0].calibrated.main.tokens_per_s * 3.6e-3
    assert row["calibration_writes_per_token"] == pytest.approx(
        row["calibration_cells_written"] / served
    )


def test_yield_is_the_share_of_chips_within_the_limit_and_five_chips_cover_calibration(
    run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    five = (*NOISY, "calibration.method=identity", "run.chip_seeds=5", "run.decode_batch=[1]")
    row = run_tiny("eflash_40nm", *five).row
    chips = sorted(perplexity(s.nll) for s in seen[0].calibrated.scores)
    assert row["ppl_calibrated_worst"] == chips[-1]
    low, high = (row[f"ppl_calibrated_chips_and_text_{end}"] for end in ("low", "high"))
    assert low < row["ppl_calibrated_mean"] < high
    limit = (chips[2] + chips[3]) / 2 / row["ppl_float"]
    again = run_tiny("eflash_40nm", *five, f"run.perplexity_limit={limit}").row
    assert again["yield"] == 0.6
    assert (again["yield_ci_low"], again["yield_ci_high"]) == pytest.approx(
        (0.2307, 0.8824), abs=1e-4
    )


def test_own_shards_are_disjoint_documents_and_other_text_than_the_shared_one(
    tiny_model: Path, run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    chips = (*NOISY, "run.chip_seeds=2", "calibration.method=clip_columns")
    same = run_tiny("eflash_40nm", *chips).row
    own = run_tiny("eflash_40nm", *chips, "calibration.shards=own").row
    assert own["ppl_noisy_mean"] == same["ppl_noisy_mean"]
    assert own["calibration_parts"] != same["calibration_parts"]
    assert same["empty_because"].count("calibration not covered: fewer than 5 chips") == 2
    config = tiny_chip("eflash_40nm", *chips, "calibration.shards=own")
    subject: Any = open_subject(str(tiny_model), read_text(None), config)
    seeds = ChipSeeds(config, subject, None, {}, None, None)  # type: ignore[arg-type]
    first, second = (
        {w.tobytes() for part in (text.fit, text.accept) for w in part}
        for text, _ in (seeds.calibration(0), seeds.calibration(1))
    )
    assert len(first) == len(second) == 512 // 16
    assert not first & second
    with pytest.raises(CimsimError, match="calibration tokens are wanted"):
        run_tiny("eflash_40nm", "calibration.shards=own", "run.chip_seeds=1000", *NOISY[1:])
