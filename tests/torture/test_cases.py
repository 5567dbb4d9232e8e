"""What users of neighbouring tools met, carried out on the command line here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree

import pytest
from tiny_model import SMALL

from cimsim.cli.serve_output import HEADER, _line
from cimsim.results import Manifest, RunFolder
from cimsim.stages.serving import ServedPoint
from tests.command_line import run_here

SETS = [word for knob in SMALL for word in ("--set", knob)]


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A checkpoint to change."""
    return Path(copytree(tiny_model, tmp_path / "model"))


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_is_refused_before_a_run(
    model: Path, tmp_path: Path
) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_bytes())
    more = {"id": 999, "content": "zq", "single_word": False, "lstrip": False, "rstrip": False}
    tokenizer["added_tokens"] = [{**more, "normalized": False, "special": False}]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "text.txt").write_text("words zq " * 400)
    words = ("run", "isaac", "--model", model, "--text", "text.txt", *SETS, "--out", "run")
    for more_words in (("--dry-run",), ()):
        done = run_here(*words, *more_words, folder=tmp_path)
        assert done.returncode == 2
        assert "tokenizer.json: the tokenizer knows tokens that the model does not" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_context_beyond_the_positions_of_a_model_is_refused_before_a_run(
    model: Path, tmp_path: Path
) -> None:
    config = json.loads((model / "config.json").read_bytes())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    words = ("run", "isaac", "--model", model, *SETS, "--out", "run", "--dry-run")
    done = run_here(*words, folder=tmp_path)
    assert done.returncode == 2
    assert "workload.context" in done.stderr and re.search(r"\b8\b", done.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("adc", "--plot", "missing/a.svg"),
        ("serve", "isaac", "--requests", "4", "--length", "2", "--csv", "missing/a.csv"),
        ("serve", "isaac", "--requests", "4", "--length", "2", "--plot", "missing/a.svg"),
        ("tile", "isaac", "--rows", "8", "--cols", "2", "--figure", "missing/a.svg"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "missing").write_text("a file")
    done = run_here(*words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words[-2] in done.stderr


@pytest.mark.parametrize("value", [1.2345e-5, -9.8765e-5, 1.2345e12, 0.012345, None])
def test_columns_of_a_curve_never_touch(value: float | None) -> None:
    fields = dict.fromkeys(ServedPoint.__dataclass_fields__, value)
    row: dict[str, object] = {**fields, "arrivals": "recorded", "parts_us": {"queue": 1.2345e-7}}
    row |= {"latency_mean_us": 1.2345, "critical_resource": "link", "saturated": False}
    columns = HEADER.replace("in sys", "in_sys").replace(" us", "_us").split()
    assert len(_line(ServedPoint(**row)).split()) == len(columns)  # type: ignore[arg-type]


def test_names_that_the_terminal_lacks_letters_for_are_written_out(tmp_path: Path) -> None:
    (tmp_path / "ch\u00efp.yaml").write_text("extends: isaac\nname: \u00b5chip\n", "utf-8")
    for plain in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        done = subprocess.run(
            [sys.executable, "-m", "cimsim", "validate", "ch\u00efp.yaml"],
            cwd=tmp_path,
            env={**os.environ, **plain, "PYTHONCOERCECLOCALE": "0"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii() and b"p.yaml: ok, chip" in done.stdout


@pytest.mark.parametrize("name", ["''", "' '", "'.'", "'..'"])
def test_a_chip_has_a_name_that_a_folder_can_have(name: str, tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text(f"extends: isaac\nname: {name}\n")
    done = run_here("validate", "chip.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "chip.yaml:2" in done.stderr and "name" in done.stderr


@pytest.mark.parametrize("name", ["12", "null", "a: b", "#x", "{a", "it's \"", "mine", "\x1b"])
def test_a_new_chip_is_valid_whatever_its_file_is_called(name: str, tmp_path: Path) -> None:
    for words in (("new", "reram"), ("validate",)):
        done = run_here(*words, f"{name}.yaml", folder=tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["manifest.json", "plan.json"])
@pytest.mark.parametrize("kind", ["deep", "pipe", "folder", "digits"])
def test_a_run_folder_that_was_damaged_is_refused_in_one_sentence(
    name: str, kind: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    started = datetime(2026, 1, 1, tzinfo=UTC)
    made = RunFolder(folder)
    made.prepare(Manifest("ab" * 32, ("cimsim", "run"), started, ("a",)), {"text_name": "t"})
    made.release()
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"[" * 200_000 if kind == "deep" else b"9" * 100_000)
    done = run_here("report", folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {folder}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("validate",), ("run", "--dry-run")])
def test_a_price_that_cannot_be_is_refused_before_a_run(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    given = ("eflash_40nm", "--set", "cost.drive_ns=1e5")
    done = run_here(words[0], *given, *words[1:], folder=tmp_path)
    assert done.returncode == 2
    assert "cost.drive_ns" in done.stderr and "at most tile.crossbar.read_ns" in done.stderr


def test_text_that_is_too_short_to_accept_on_is_refused_before_a_run(tmp_path: Path) -> None:
    given = ("isaac", "--set", "calibration.accept_tokens=16777200", "--dry-run")
    done = run_here("run", *given, folder=tmp_path)
    assert done.returncode == 2
    assert "calibration.accept_tokens" in done.stderr and "at most" in done.stderr
