"""The share of a chip's gap to its float model that calibrating closes."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from cimsim.cli.romer import app
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.stages.compute import NUMBA
from romer.study.gap import GapClosed, measure_gaps
from romer.study.subject import CleanModel

QUICK = ("chip.analog_parts=[router]", "workload.context=64", "calibration.tokens=640")
NOISY = (*QUICK, "tile.device.sigma_lsb=15")


def test_share_is_what_is_closed_over_the_gap_chip_by_chip() -> None:
    found = GapClosed("x", (0.2, 0.4), (0.1, 0.4), ())
    assert found.share.mean == pytest.approx(0.75)
    assert (found.share.low, found.share.high) == pytest.approx(
        (0.75 - 3.1766, 0.75 + 3.1766), rel=1e-4
    )


def test_identity_closes_nothing_and_other_codes_close_a_share() -> None:
    config = load_chip(find_chip("eflash_40nm"), NOISY)
    subject = CleanModel("olmoe-tiny", 64, NUMBA, 2048)
    none, clip = measure_gaps(config, subject, ("identity", "clip_columns"), (0,), 640)
    assert none.closed_nats == (0.0,)
    assert none.gap_nats == clip.gap_nats
    assert clip.share.mean > 0.3
    assert clip.parts().startswith("clip_columns +")


def test_a_chip_without_errors_has_nothing_to_close() -> None:
    result = CliRunner().invoke(
        app,
        ["gap", "eflash_40nm", "--chips", "1", "--tokens", "512", "--method", "identity",
         *(f"--set={knob}" for knob in (*QUICK, "tile.device.sigma_lsb=0"))],
    )  # fmt: skip
    assert isinstance(result.exception, CimsimError)
    assert "nothing to close" in result.exception.sentence()


def test_the_command_prints_a_line_for_each_method() -> None:
    result = CliRunner().invoke(
        app,
        ["gap", "eflash_40nm", "--chips", "1", "--tokens", "2048", "--method", "identity",
         *(f"--set={knob}" for knob in NOISY)],
        catch_exceptions=False,
    )  # fmt: skip
    first, none = result.stdout.splitlines()
    assert first.endswith("nats, 1 chips, 2048 tokens")
    assert none.startswith("identity: 0.0 % closed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    "command", [["gap", "--device", "cuda"], ["replicas", "--set=run.device=cuda"]]
)
def test_where_numbers_are_computed_is_what_was_asked_for(command: list[str]) -> None:
    name, *where = command
    result = CliRunner().invoke(app, [name, "eflash_40nm", *where])
    assert isinstance(result.exception, CimsimError)
    assert "CUDA" in result.exception.sentence()
