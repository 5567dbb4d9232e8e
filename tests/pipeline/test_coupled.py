"""Numbers and time together: equal to apart where no number depends on time, else right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Runner, tiny_chip
from coupled_chip import deploy
from signature import outcome_of, tables_of

from cimsim.errors import CimsimError
from cimsim.pipeline import run_chip
from cimsim.stages.coupling import drifts_within
from cimsim.stages.models import read_text
from cimsim.units import PS_PER_S
from cimsim.workload.matrix import MatrixId

QUICK = ("run.chip_seeds=1", "calibration.method=identity")
SWITCHED = ("chip.tiles=6", "tile.pes=1", "chip.switching=lru", "tile.device.sigma=0.1")
NOISY = ("tile.pes=1", "tile.device.sigma=0.1", "calibration.method=identity")
COPIES = ("tile.pes=1", "chip.spare_fraction=2.0")

# Chips whose numbers do not depend on time, and a version of them that stresses the engine.
STILL = [
    ("isaac", ()),
    ("isaac", ("tile.pes=1", "chip.analog_parts=[experts, head]", "workload.in_flight=3")),
    ("eflash_40nm", ("chip.spare_fraction=2.0", "tile.pes=1")),
    ("pcm_14nm", ("run.tile_mode=folded",)),
    ("isaac", ("system.chips=2", "tile.pes=1")),
    ("npu_hbm", ()),
    ("sram_digital_28nm", ("chip.analog_parts=[attention, router, shared]", "digital.units=2")),
    ("sram_switching_28nm", ("chip.tiles=5", "tile.pes=1", "chip.switching=pinned")),
    ("sram_switching_28nm", ("chip.tiles=5", "tile.pes=1", "chip.switching=prefetch")),
]


@pytest.mark.parametrize(("chip", "overrides"), STILL, ids=lambda v: "+".join(v) or "plain")
def test_coupled_and_trace_runs_are_bit_equal_where_nothing_depends_on_time(
    chip: str, overrides: tuple[str, ...], run_tiny: Runner
) -> None:
    overrides = (*overrides, "run.chip_seeds=1")
    trace = run_tiny(chip, *overrides, "run.coupling=trace", "run.engine=simpy")
    coupled = run_tiny(chip, *overrides, "run.coupling=coupled")
    assert outcome_of(coupled) == outcome_of(trace)


def test_trace_mode_is_refused_where_numbers_depend_on_time(run_tiny: Runner) -> None:
    cases = [
        (SWITCHED, "at every write"),
        ((*COPIES, "mapping.replica_choice=least_loaded"), "least loaded copy"),
        (("tile.device.drift={nu: 0.05, t0_s: 1e-5}",), "conductances drift within"),
    ]
    for overrides, reason in cases:
        with pytest.raises(CimsimError, match=reason) as caught:
            run_tiny("isaac", *overrides, *QUICK, "run.coupling=trace")
        assert caught.value.key == "run.coupling"


def test_the_compiled_engine_cannot_drive_numbers(run_tiny: Runner) -> None:
    with pytest.raises(CimsimError, match="SimPy engine only") as caught:
        run_tiny("isaac", *SWITCHED, *QUICK, "run.engine=compiled")
    assert caught.value.key == "run.engine"


def test_slow_drift_runs_in_trace_mode_and_equals_coupled_mode(run_tiny: Runner) -> None:
    drift = ("tile.device.drift={nu: 0.05, t0_s: 1.0}", "tile.device.age_s=100", *QUICK)
    trace = run_tiny("isaac", *drift, "run.coupling=trace")
    assert outcome_of(run_tiny("isaac", *drift, "run.coupling=coupled")) == outcome_of(trace)


@pytest.mark.parametrize(
    "overrides",
    [
        (*SWITCHED, "tile.device.drift={nu: 0.1, t0_s: 1e-4}", "calibration.method=romer_plus"),
        ("tile.device.drift={nu: 0.05, t0_s: 1e-5}",),
        ("chip.spare_fraction=2.0", "mapping.replica_choice=least_loaded"),
    ],
    ids=["switching", "drift", "copies"],
)
def test_time_changes_numbers_and_threads_do_not(
    overrides: tuple[str, ...], tiny_model: Path
) -> None:
    config = tiny_chip("isaac", *NOISY, *overrides)
    told: list[tuple[str, float]] = []
    once = run_chip(
        config, str(tiny_model), read_text(None), progress=lambda *step: told.append(step)
    )
    again = run_chip(config, str(tiny_model), read_text(None), threads=2)
    shares = [share for stage, share in told if "numbers and time" in stage]
    assert len(shares) > 100  # a share a flight
    assert shares == sorted(shares)
    assert tables_of(once) == tables_of(again)
    still = tiny_chip("isaac", *NOISY)
    other = run_chip(still, str(tiny_model), read_text(None))
    assert once.row["ppl_noisy_mean"] != other.row["ppl_noisy_mean"]


def test_scored_numbers_are_those_of_prefill_whatever_is_decoded(run_tiny: Runner) -> None:
    one, four = (run_tiny("isaac", *SWITCHED, *QUICK, f"run.decode_batch=[{b}]") for b in (1, 4))
    assert one.row["ppl_noisy_mean"] == four.row["ppl_noisy_mean"]
    # Decode switches experts at other moments: the same chip, other numbers, which are said.
    said = [[w for w in r.warnings if "perplexity" in w] for r in (one, four)]
    assert said[0]
    assert said[0] != said[1]


def test_calibration_of_a_switching_chip_never_sees_one_write_twice(tiny_model: Path) -> None:
    config = tiny_chip("isaac", *SWITCHED)
    deployment = deploy(config, tiny_model)
    matrix = MatrixId(0, "gate", 3)
    fit, fit_again, accept = (
        deployment.linear(None, read_seed=seed, mode="folded").programmed[matrix][0]
        for seed in (1_000_003, 1_000_003, 1_000_033)
    )
    assert fit is fit_again
    assert not np.array_equal(fit.cells.values, accept.cells.values)
    # Slots are dealt to experts in turn; those that share one share its silicon and no write.
    drawn = next(iter(deployment.drawn.values()))
    slots = {m: copies[0].writing.slot for m, copies in drawn.items() if m.role == "gate"}
    assert len(set(slots.values())) < len(slots)


@pytest.mark.parametrize("chip", ["hermes", "pcm_14nm"])
def test_bundled_chips_that_drift_stay_in_trace_mode_for_runs_of_milliseconds(chip: str) -> None:
    config = tiny_chip(chip)
    assert drifts_within(config, 50 * PS_PER_S // 1000) is None
    # ln(1 + t / t0) reaches half a step of 1 % after t0 / 200: 0.1 s or 1.5 s.
    assert "drift within" in str(drifts_within(config, 2 * PS_PER_S))
