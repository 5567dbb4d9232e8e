"""Wrong command lines of sweeps and searches: exit code 2, one sentence, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import run_here

OFF = ("--accuracy", "off")
WRONG = {
    "no such chip": (("sweep", "isac", "--axis", "tile.adc.bits=5"), "did you mean 'isaac'"),
    "no axis": (("sweep", "isaac"), "the plan is empty"),
    "axis without values": (("sweep", "isaac", "--axis", "tile.adc.bits"), "KNOB=VALUE"),
    "unknown knob": (("sweep", "isaac", "--axis", "tile.adc.bitz=5"), "'tile.adc.bits'"),
    "invalid chip": (("sweep", "isaac", "--axis", "tile.adc.bits=5,40", *OFF), "--skip-invalid"),
    "axis of a plan": (("sweep", "memory_batch", "--axis", "tile.adc.bits=5"), "in the plan"),
    "two plans": (("sweep", "memory_batch", "adc_study"), "one plan at a time"),
    "no such plan": (("search", "memory_bach"), "no such plan"),
    "storage of nothing": (
        ("search", "memory_batch", "--storage", "nonsense://x"),
        "no storage of Optuna",
    ),
}


@pytest.mark.parametrize("mistake", list(WRONG))
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(mistake: str, tmp_path: Path) -> None:
    words, says = WRONG[mistake]
    done = run_here(*words, folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
