"""A saved correction serves the chip that it was made for, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Runner
from tiny_model import SMALL

from cimsim.cli.romer import calibrate
from cimsim.errors import CimsimError

NOISY = ("tile.device.sigma=0.05",)


@pytest.fixture(scope="module")
def saved(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The correction of chip seed 0, kept even where no step helps."""
    path = tmp_path_factory.mktemp("corrections") / "of isaac.safetensors"
    calibrate(
        "isaac",
        path,
        model=str(tiny_model),
        overrides=[*SMALL, *NOISY],
        seed=0,
        tokens=256,
        method="replace_e2+match_r4",
        unguarded=True,
        as_json=True,
    )
    return path


def test_correction_is_accepted_by_its_chip_and_changes_it(saved: Path, run_tiny: Runner) -> None:
    plain = run_tiny("isaac", *NOISY, "run.chip_seeds=1", "calibration.method=identity")
    found = run_tiny("isaac", *NOISY, "run.chip_seeds=1", correction=saved)
    assert found.row["ppl_noisy_mean"] == plain.row["ppl_noisy_mean"]
    assert found.row["ppl_calibrated_mean"] != found.row["ppl_noisy_mean"]
    assert not [w for w in found.warnings if "correction" in w]


def test_how_much_is_scored_does_not_make_another_chip(saved: Path, run_tiny: Runner) -> None:
    use = ("workload.tokens=64", "run.decode_batch=[2]", "run.flight_tokens=4")
    assert run_tiny("isaac", *NOISY, *use, correction=saved).row["tokens"] == 64


def test_other_chip_seeds_are_said_to_be_other_chips(saved: Path, run_tiny: Runner) -> None:
    warnings = run_tiny("isaac", *NOISY, correction=saved).warnings
    assert any("chip seed 0" in w for w in warnings)


@pytest.mark.parametrize("other", ["tile.device.sigma=0.06", "tile.adc.bits=7", "run.seed=1"])
def test_correction_is_refused_for_another_chip(other: str, saved: Path, run_tiny: Runner) -> None:
    with pytest.raises(CimsimError, match="made for another chip") as caught:
        run_tiny("isaac", *NOISY, other, correction=saved)
    assert caught.value.key == "--correction"
    assert "--force" in caught.value.sentence()


def test_file_that_is_no_correction_is_refused(tiny_model: Path, run_tiny: Runner) -> None:
    with pytest.raises(CimsimError):
        run_tiny("isaac", *NOISY, correction=tiny_model / "model.safetensors")
