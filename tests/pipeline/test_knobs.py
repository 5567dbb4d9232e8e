"""Every knob moves a result, or is refused or warned of by a message that names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import Runner, tiny_chip
from full_size_stage import full_size
from knob_cases import Case, cases
from signature import outcome_of, tables_of

from cimsim.cache import NO_CACHE
from cimsim.config import ChipConfig
from cimsim.config.knobs import ANY_NAME, Knob, find_knobs
from cimsim.errors import CimsimError
from cimsim.results import ChipResult

KNOBS = {k.path: k for k in find_knobs()}
CASES = cases()
# A tenth of the knobs, a different tenth of every section, in the normal suite.
FULL = os.environ.get("CIMSIM_FULL_TESTS") == "1"
SAMPLE = CASES if FULL else CASES[3::10]


def values_of(knob: Knob, before: object) -> Iterator[str]:
    """Yield values of a knob other than the one it has, as YAML, the plainest first."""
    if isinstance(before, bool):
        yield "false" if before else "true"
    elif " | " in knob.type_name and "number" not in knob.type_name:
        names = [n for n in knob.type_name.split(" | ") if n not in {str(before), "null"}]
        yield from (n for n in names if n not in {"integer", "text"})
    elif isinstance(before, int):
        yield from (str(before * 2), str(before + 1), str(max(1, before // 2)))
    elif isinstance(before, float):
        yield from (f"{before * 1.5!r}", f"{before * 0.5!r}") if before else ("5.0", "0.5")
    elif before is None:
        yield from ("2.0", "2")


def named(path: str) -> str:
    """Return a path with the names that its case gives: `NAME` is the user's to choose."""
    name = "tile_buffer" if "overrides" in path else "extra"
    return path.replace(f".{ANY_NAME}", f".{name}")


def current(config: ChipConfig, path: str) -> object:
    section: Any = config
    for key in path.split("."):
        section = section[key] if isinstance(section, dict) else getattr(section, key)
    return section


def mentions(knob: str, text: str) -> bool:
    """Whether a message names a knob: its path, or its own or its section's key."""
    return knob in text or knob.rsplit(".", maxsplit=1)[0] in text


@cache
def _outcome(run: Callable[..., ChipResult], chip: str, context: tuple[str, ...]) -> ChipResult:
    return run(chip, *context)


def effect(run: Runner, case: Case) -> str:
    """Return what moving a knob does: moved, refused, warned or nothing."""
    before = tiny_chip(case.chip, *case.context)
    wanted = (
        [case.value]
        if case.value
        else list(values_of(KNOBS[case.path], current(before, named(case.path))))
    )
    base = _outcome(run, case.chip, case.context)
    said = "no other value is allowed"
    for value in wanted:
        try:
            result = run(case.chip, *case.context, f"{named(case.path)}={value}")
        except CimsimError as error:
            said = f"refused: {error.sentence()}"
            continue
        if outcome_of(result) != outcome_of(base):
            return "moved"
        warned = [w for w in result.warnings if mentions(case.path, w)]
        return f"warned: {warned[0]}" if warned else f"nothing at {value}"
    return said


@pytest.fixture(scope="module")
def module_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Run with a stage cache that all cases share: a stale value would not move.

    In `make test-full` every run is held against one without the cache, and so is the stage of
    the full-size model, which is a small one here.
    """
    from cimsim.cache import open_cache
    from cimsim.pipeline import run_chip
    from cimsim.stages.kept import KEPT
    from cimsim.stages.models import read_text
    from cimsim.stages.opened import Opened

    stages = open_cache(KEPT, tmp_path_factory.mktemp("stages"))

    def run(chip: str, *overrides: str) -> ChipResult:
        config = tiny_chip(chip, *overrides)
        found = run_chip(config, str(tiny_model), read_text(None), opened=Opened(stages))
        if FULL:
            computed = run_chip(config, str(tiny_model), read_text(None))
            assert tables_of(found) == tables_of(computed)
            assert found.warnings == computed.warnings
            assert full_size(config, stages) == full_size(config, NO_CACHE)
        return found

    return run


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_moving_a_knob_moves_a_result_or_is_refused_by_name(case: Case, module_run: Runner) -> None:
    found = effect(module_run, case)
    if found.startswith("refused"):
        assert mentions(case.path, found), found
    else:
        assert found == "moved" or found.startswith("warned"), found
