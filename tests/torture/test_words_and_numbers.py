"""What people write: numbers that no chip has, text that no terminal shows, YAML that folds up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cimsim.config.knobs import find_knobs
from cimsim.config.load import load_chip
from cimsim.errors import CimsimError
from cimsim.printable import printable, shortened
from tests.command_line import run_here

ISAAC = "extends: isaac\n"
# Numbers whose bounds are those of names, or of a kind that has no numbers of its own.
FREE = {"run.seed", "cimsim"}


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "chip.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CimsimError) as caught:
        load_chip(path, overrides)
    sentence = caught.value.sentence()
    assert len(sentence) <= 500
    assert sentence.isprintable()
    return sentence


def test_every_number_of_a_chip_file_has_an_upper_and_a_lower_bound() -> None:
    numbers = [k for k in find_knobs() if {"integer", "number"} & set(k.type_name.split())]
    open_ended = [
        k.path
        for k in numbers
        if "<" not in k.bounds or ">" not in k.bounds
        if not k.path.endswith((".cimsim", ".options"))
    ]
    assert len(numbers) > 100
    assert open_ended == []


@pytest.mark.parametrize("value", ["[]", "[0]", "[-1]", "[1, 1]", "[5000]", "4", "[1.5]"])
def test_batch_sizes_of_decode_are_positive_and_named_once(value: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, f"{ISAAC}run: {{decode_batch: {value}}}\n")
    assert said.startswith(f"{tmp_path / 'chip.yaml'}:2:")
    assert "run.decode_batch" in said
    assert "list of integer >= 1 and <= 4096" in said


@pytest.mark.parametrize(
    "override",
    [
        "memory.channel_gb_per_s=1e-9",
        "memory.latency_ns=1e12",
        "memory.latency_ns=1e-300",
        "noc.clock_ghz=1e-9",
        "chip.tiles=1000000",
        f"tile.pes={10**30}",
        "tile.crossbar.wire_ohm=1e300",
        f"workload.tokens={10**9}",
    ],
)
def test_numbers_that_no_chip_has_are_refused_with_what_is_allowed(
    override: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, ISAAC, override)
    assert override.partition("=")[0] in said
    assert "; allowed: " in said


def test_nothing_at_all_is_allowed_where_almost_nothing_is_not(tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text(ISAAC)
    assert load_chip(tmp_path / "chip.yaml", ("memory.latency_ns=0",)).memory.latency_ns == 0.0


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("tile: &a {tile: *a}\n", ":1", "nested too deeply"),
        ("name: &a [*a]\n", ":1", "nested too deeply"),
        (ISAAC + 'name: "a\\ud800"\n', ":2:7", "cannot be shown"),
        (ISAAC + 'name: "\\e[31mred"\n', ":2:7", r"'\x1b'"),
        (ISAAC + '"ti\\e[31mle": 4\n', ":2:1", r"'\x1b'"),
        (ISAAC + 'description: "safe \\u202e efas"\n', ":2:14", r"'\u202e'"),
        (ISAAC + "name: ''\n", ":2:1: name", "a letter or a digit"),
        (ISAAC + f"name: {'x' * 300}\n", ":2:1: name", "at most 100"),
        (ISAAC + "name: =1+1\n", ":2:1: name", "may not begin"),
        (ISAAC + "tile:\n", ":2:1: tile", "is empty; allowed: keys such as pes"),
        (f"extends: {'x' * 300}\n", ":1", "extends"),
        (ISAAC + f"run: {{decode_batch: [{'1, ' * 90_000}1]}}\n", ":2", "decode_batch"),
    ],
    ids=range(12),
)
def test_text_that_folds_up_or_cannot_be_shown_is_refused_where_it_stands(
    text: str, where: str, why: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, text)
    assert said.startswith(f"{tmp_path / 'chip.yaml'}{where}")
    assert why in said


@pytest.mark.parametrize(
    "override",
    [".".join(["tile"] * 5000) + "=1", "tile=" + "{a: " * 5000, "name=\x1b[2J", "x\ny=1", "name="],
    ids=range(5),
)
def test_overrides_of_any_length_end_in_one_short_line(override: str, tmp_path: Path) -> None:
    refusal(tmp_path, ISAAC, override)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name", "plain name"),
        ("b\u00fcro \u4e2d", "b\u00fcro \u4e2d"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\udcff", r"\udcff"),
        ("\u202e\u2028", r"\u202e\u2028"),
    ],
)
def test_what_cannot_be_printed_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    short = shortened("begin" + "x" * 1000 + "end", 60)
    assert len(short) == 60
    assert short.startswith("begin")
    assert short.endswith("end")
    assert "..." in short


def test_an_error_of_anything_is_one_line_of_at_most_500_characters() -> None:
    long = "y\n\x1b" * 1000
    error = CimsimError(
        long, file=long, line=1, key=long, value=10**5000, allowed=long, hint="at the end"
    )
    assert len(error.sentence()) <= 500
    assert error.sentence().isprintable()
    assert error.sentence().endswith("at the end")


@pytest.mark.parametrize("words", [("validate", "\x1b[31m"), ("\x1b[2J",), ("run", "--\x1b[2J")])
def test_the_command_line_prints_no_escape_code(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run_here(*words, folder=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert r"\x1b" in done.stderr


def test_answers_name_a_place_with_an_escape_code_in_it_and_print_none(tmp_path: Path) -> None:
    for words in (
        ("new", "reram", "\x1b[31m.yaml"),
        ("run", "isaac", "--dry-run", "--out", "a\x1b]0;b\u202e"),
    ):
        done = run_here(*words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert r"\x1b" in done.stdout
        assert all(line.isprintable() for line in done.stdout.split("\n"))


def test_names_that_no_file_can_have_are_user_errors(tmp_path: Path) -> None:
    for words in (
        ("validate", "x" * 300),
        ("run", "isaac", "--dry-run", "--out", "x" * 300),
        ("run", "isaac", "--dry-run", "--text", "x" * 300),
        ("run", "isaac", "--dry-run", "--model", "x" * 300),
    ):
        done = run_here(*words, folder=tmp_path)
        assert done.returncode == 2, words
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 1, "No space left"),
        (">&-", 1, "stdout is closed"),
        ("2>&- >/dev/null", 0, ""),
    ],
)
@pytest.mark.parametrize("words", ["explain tile.adc.bits", ""])
def test_an_output_that_is_full_or_closed_is_said_in_one_sentence(
    words: str, redirection: str, code: int, said: str
) -> None:
    command = f"{sys.executable} -m cimsim {words} {redirection}"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert said in done.stderr
