"""Runs of whole chips on the tiny checkpoint, without the full-size model of scale.csv."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import SMALL

import cimsim.stages.chip_result as flow
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.pipeline import run_chip
from cimsim.results import ChipResult
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.models import read_text

Runner = Callable[..., ChipResult]


def tiny_chip(chip: str, *overrides: str) -> ChipConfig:
    """Return a bundled chip with a workload of eight windows of 16 tokens."""
    return load_chip(find_chip(chip), (*SMALL, *overrides))


@pytest.fixture(autouse=True)
def _no_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    # The full-size shape takes ten seconds per chip and has tests of its own.
    monkeypatch.setattr("cimsim.stages.first_seed.scale_rows", lambda *_: ())


@pytest.fixture
def run_tiny(tiny_model: Path) -> Runner:
    """Return a function (chip, *overrides) -> result of a whole run on the tiny checkpoint."""

    def run(chip: str, *overrides: str, correction: Path | None = None) -> ChipResult:
        config = tiny_chip(chip, *overrides)
        return run_chip(config, str(tiny_model), read_text(None), correction=correction)

    return run


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[ChipMeasurement]:
    """What the pipeline measured, before it became rows."""
    found: list[ChipMeasurement] = []
    make_row = flow.result_row
    monkeypatch.setattr(
        flow, "result_row", lambda measured: (found.append(measured), make_row(measured))[1]
    )
    return found
