"""Chips of one process find open what the last one left; no number depends on it."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import pytest

from cimsim.config import ChipConfig
from cimsim.config.chip import Run
from cimsim.pipeline import run_chip
from cimsim.results import ChipResult
from cimsim.stages import subject
from cimsim.stages.models import read_text
from cimsim.stages.opened import Opened
from romer import CleanReference
from tests.pipeline.conftest import tiny_chip

TORCH = Run(backend="torch", precision="fast")
KNOBS = ("run.chip_seeds=1", "calibration.method=romer")
on_both = pytest.mark.parametrize("computed", [(), ("run.backend=torch", "run.precision=fast")])


def _run(config: ChipConfig, model: Path, shelf: dict[Hashable, Any] | None = None) -> ChipResult:
    """The chip after those that left something on the shelf; None is a shelf of its own."""
    opened = Opened(shelf={} if shelf is None else shelf)
    return run_chip(config, str(model), read_text(None), opened=opened)


@on_both
def test_the_clean_model_is_scored_once_for_all_chips_and_no_number_moves(
    computed: tuple[str, ...], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score = subject.score_clean
    monkeypatch.setattr(
        subject, "score_clean", lambda *given: scored.append(len(given[2])) or score(*given)
    )
    configs = [tiny_chip(name, *KNOBS, *computed) for name in ("eflash_40nm", "isaac", "hermes")]
    alone = [_run(config, tiny_model) for config in configs]
    assert len(scored) == 2 * len(configs)  # scored text, and text from which load is expected
    scored.clear()
    shelf: dict[Hashable, Any] = {}
    together = [_run(config, tiny_model, shelf) for config in configs]
    assert len(scored) == 2
    assert [chip.row for chip in together] == [chip.row for chip in alone]
    assert [chip.warnings for chip in together] == [chip.warnings for chip in alone]


@on_both
def test_chips_are_calibrated_against_one_reference_and_another_text_gets_its_own(
    computed: tuple[str, ...], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    measure = CleanReference.measure
    monkeypatch.setattr(
        CleanReference,
        "measure",
        lambda *given: measured.append(given[2].fit.size) or measure(*given),
    )

    def told(shelf: dict[Hashable, Any] | None) -> list[Any]:
        measured.clear()
        knobs = [("eflash_40nm",), ("isaac",), ("isaac", "calibration.tokens=320")]
        chips = [_run(tiny_chip(*chip, *KNOBS, *computed), tiny_model, shelf) for chip in knobs]
        return [(chip.row, chip.per_seed, chip.warnings) for chip in chips]

    alone = told(None)
    assert len(measured) == 3
    assert told({}) == alone
    assert len(measured) == 2


def test_a_reference_is_let_go_with_what_computed_it() -> None:
    opened, made = Opened(), []

    def measure() -> Any:
        made.append(CleanReference(cast(Any, None), ()))
        return made[-1]

    first = opened.computes(TORCH, 1, 2, "model")[0]
    assert opened.reference("text", first, measure) is opened.reference("text", first, measure)
    assert opened.reference("another text", first, measure) is made[1]
    assert opened.reference("text", first, measure) is made[2]  # the last one alone is kept
    other = opened.computes(TORCH, 1, 2, "another model")[0]
    assert opened.reference("text", other, measure) is made[3]


def test_what_computes_is_kept_for_its_model_and_let_go_for_another() -> None:
    opened = Opened()
    first = opened.computes(TORCH, 1, 2, "model")
    assert opened.computes(TORCH, 1, 2, "model")[0] is first[0]
    was = weakref.ref(first[0])
    del first
    assert opened.computes(TORCH, 1, 2, "another")[0] is not was()
    assert was() is None
    other = TORCH.model_copy(update={"precision": "exact"})
    assert opened.computes(other, 1, 2, "another")[0]._reading.precision == "exact"  # type: ignore[attr-defined]
