"""Commands of the page on macros are carried out as printed, and show what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.command_line import run_here

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "macros.md").read_text("utf-8")
RECOVERED, SKIPPED, SEARCHED = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (RECOVERED, "5.7% of columns converted again, out of range"),
        (SKIPPED, "18.2% of reads skipped: no row of theirs is driven"),
        (SEARCHED, "6 comparisons a conversion, where a binary search takes 7"),
    ],
    ids=["recovery", "skipped", "searched"],
)
def test_a_command_of_the_page_shows_what_data_decide(line: str, said: str, tmp_path: Path) -> None:
    done = run_here(*shlex.split(line)[1:], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "18 %" in PAGE


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ("dac: {bits: 1, recovery_bits: 1}", "must be less than bits, 1"),
        ("dac: {recovery_bits: 1}\n  adc: {range: {kind: auto}}", "take fixed or percentile"),
        ("dac: {recovery_bits: 1}\n  input: {bits: 1}", "no wider cycle to recover"),
    ],
    ids=["one_bit_drivers", "auto_range", "one_bit_inputs"],
)
def test_a_contradiction_is_one_sentence_with_file_and_line(
    knobs: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: raella\nname: mine\ntile:\n  {knobs}\n")
    done = run_here("validate", "mine.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert re.search(r"mine\.yaml:\d+:\d+: tile", done.stderr + done.stdout)
    assert said in done.stderr + done.stdout
