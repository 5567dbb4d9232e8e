"""What a run prints last: a table, and where its costs leave their data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cimsim.cli.summary import print_summary
from tests.results.fake_run import fake_chip, fake_run


def test_extrapolated_costs_are_named_by_chip(capsys: pytest.CaptureFixture[str]) -> None:
    notes = ("extrapolated: SRAM at 14 nm", "extrapolated: router", "write drivers: none")
    chips = (fake_chip(0), replace(fake_chip(2), notes=notes))
    print_summary(replace(fake_run(1), chips=chips), as_json=False, folder="out")
    printed = capsys.readouterr().out
    assert "costs extrapolated, see the report: hermes (2)" in printed
    assert max(len(line) for line in printed.splitlines()) <= 80


def test_nothing_extrapolated_is_not_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(fake_run(1), as_json=False, folder="out")
    assert "extrapolated" not in capsys.readouterr().out


def test_destroyed_chips_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    chips = []
    for index, flags in ((0, {"destroyed": True}), (2, {"destroyed_calibrated": True})):
        chip = fake_chip(index)
        chips.append(replace(chip, row={**chip.row, **flags}))
    print_summary(replace(fake_run(1), chips=(*chips, fake_chip(4))), as_json=False, folder="out")
    printed = capsys.readouterr().out
    said = "perplexity of unigrams, 900): isaac (before calibration), hermes (after calibration)"
    assert said in " ".join(printed.split())
    assert max(len(line) for line in printed.splitlines()) <= 80
    print_summary(fake_run(1), as_json=False, folder="out")
    assert "destroyed" not in capsys.readouterr().out
