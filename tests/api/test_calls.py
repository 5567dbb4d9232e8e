"""`import cimsim` gives what the command line gives: the same figures, the same sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_model import SMALL

import cimsim
from cimsim.api.overrides import set_texts
from cimsim.stages.columns.registry import results_table
from cimsim.workload.shapes import SHAPES
from tests.command_line import run_here
from tests.small_shape import NAME, SMALL_SHAPE

TEXT = "The tide came in before noon. " * 400
KNOBS: dict[str, object] = {
    "workload.context": 16,
    "workload.in_flight": 2,
    "calibration.tokens": 256,
    "calibration.method": "identity",
    "run.chip_seeds": 2,
    "run.flight_tokens": 8,
    "run.decode_batch": [1, 4],
    "tile.adc.bits": 7,
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    monkeypatch.setenv("CIMSIM_CACHE_DIR", str(tmp_path / "cache"))


def words(knobs: dict[str, object]) -> list[str]:
    """Return the options of a command line for knobs."""
    return [word for text in set_texts(knobs) for word in ("--set", text)]


def test_import_is_light_and_lists_every_name() -> None:
    code = (
        "import sys, json, cimsim; names = dir(cimsim); "
        "heavy = [m for m in ('numpy', 'pandas', 'numba', 'matplotlib', 'torch', 'dask', 'tqdm') "
        "if m in sys.modules]; print(json.dumps([names, heavy]))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names, heavy = json.loads(said.stdout)
    assert heavy == []
    assert {"run", "load_chip", "compare", "peak", "tile", "calibrate", "sweep"} <= set(names)


def test_sweep_stays_a_call_after_everything_was_imported() -> None:
    import cimsim.sweeps.run  # a package of the name `sweep` would take its place

    assert callable(cimsim.sweep)


def test_a_run_has_a_row_per_chip_and_model_as_the_command_line_writes_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    found = cimsim.run(["isaac", "puma"], models=tiny_model, text=TEXT, tokens=128, overrides=KNOBS)
    file = tmp_path / "text given"
    file.write_text(TEXT)
    done = run_here(
        "run", "isaac", "puma", "--model", tiny_model, "--text", file, "--tokens", "128",
        *words(KNOBS), "--jobs", "1", "--json", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    frame = found.to_frame()
    assert list(frame["config"]) == ["isaac", "puma"]
    assert list(frame.columns) == [c.name for c in results_table((1, 4)).columns]
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    for mine, theirs in zip(rows, json.loads(done.stdout), strict=True):
        assert list(mine) == list(theirs)
        for name, value in theirs.items():
            expected = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
            assert mine[name] == expected, name
    assert (frame["adc_bits"] == 7).all()
    assert found.folder is None
    shown = found._repr_html_()
    assert "<table" in shown
    assert "puma" in shown
    assert len(found.to_frame("pairs")) == 1
    with pytest.raises(cimsim.CimsimError, match="did you mean 'per_seed'"):
        found.to_frame("per_sed")
    again = cimsim.compare(found, iso="throughput").to_frame()
    assert again["tokens_per_s"].iloc[0] == pytest.approx(again["tokens_per_s"].iloc[1])


def test_a_run_with_a_folder_keeps_its_report(tiny_model: Path, tmp_path: Path) -> None:
    found = cimsim.run(
        cimsim.load_chip("isaac", KNOBS), models=tiny_model, tokens=128, out=tmp_path / "kept"
    )
    assert found.folder == tmp_path / "kept"
    assert (tmp_path / "kept" / "report.html").is_file()
    with pytest.raises(cimsim.CimsimError, match="not empty"):
        cimsim.run("isaac", models=tiny_model, tokens=128, out=tmp_path / "kept", overrides=KNOBS)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: cimsim.run("isac"), ("run", "isac")),
        (
            lambda: cimsim.run("isaac", overrides={"tile.adc.bitz": 7}),
            ("run", "isaac", "--set", "tile.adc.bitz=7"),
        ),
        (lambda: cimsim.run("isaac", models="olmo"), ("run", "isaac", "--model", "olmo")),
        (lambda: cimsim.peak("isac"), ("peak", "isac")),
        (lambda: cimsim.tile("isaac", matrix="no.npy"), ("tile", "isaac", "--matrix", "no.npy")),
        (lambda: cimsim.compare("isaac"), ("compare", "isaac")),
        (
            lambda: cimsim.sweep("isaac", axes={"tile.adc.bitz": [5]}),
            ("sweep", "isaac", "--axis", "tile.adc.bitz=[5]"),
        ),
    ],
    # A function's own text has its address, which differs from worker to worker.
    ids=lambda given: "" if callable(given) else " ".join(given),
)
def test_errors_are_the_sentences_of_the_command_line(
    call: Callable[[], object], line: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(cimsim.CimsimError) as error:
        call()
    assert run_here(*line, folder=tmp_path).stderr == f"error: {error.value.sentence()}\n"


def test_logits_have_the_losses_that_a_run_scores(tiny_model: Path) -> None:
    chip = cimsim.load_chip("eflash_40nm", {**KNOBS, "tile.device.sigma_lsb": 3.0})
    scored = cimsim.run(chip, models=tiny_model, text=TEXT, tokens=128)
    seeds = scored.to_frame("per_seed").set_index("chip_seed")
    for seed in (0, 1):
        found = cimsim.logits(chip, model=tiny_model, text=TEXT, tokens=128, chip_seed=seed)
        losses = found.to_frame()
        assert found.noisy.shape == (8, 16, 256)
        assert np.exp(losses["loss_noisy_nats"].mean()) == pytest.approx(
            seeds.loc[seed, "ppl_noisy"], rel=1e-6
        )
    assert np.exp(losses["loss_clean_nats"].mean()) == pytest.approx(
        scored.to_frame()["ppl_float"].iloc[0], rel=1e-6
    )


def test_logits_of_a_sentence_shorter_than_a_window(tiny_model: Path) -> None:
    found = cimsim.logits("isaac", model=tiny_model, text="Noon.", overrides=KNOBS)
    assert found.tokens.shape == (1, 5)
    with pytest.raises(cimsim.CimsimError, match="no token"):
        cimsim.logits("isaac", model=tiny_model, text="", overrides=KNOBS)
    with pytest.raises(cimsim.CimsimError, match="0 or more"):
        cimsim.logits("isaac", model=tiny_model, text="Noon.", chip_seed=-1, overrides=KNOBS)


def test_a_string_that_names_a_file_is_not_scored_as_text(tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(TEXT)
    with pytest.raises(cimsim.CimsimError, match="give Path"):
        cimsim.logits("isaac", model=tiny_model, text=str(file), overrides=KNOBS)
    one, other = (
        cimsim.logits("isaac", model=tiny_model, text=text, tokens=32, overrides=KNOBS)
        for text in (file, TEXT)
    )
    assert (one.noisy == other.noisy).all()


def test_calibrate_finds_the_correction_of_the_command_line(
    tiny_model: Path, tmp_path: Path
) -> None:
    knobs = {**dict(text.split("=", 1) for text in SMALL), "tile.device.sigma_lsb": 5.0}
    found = cimsim.calibrate("eflash_40nm", model=tiny_model, method="columns", overrides=knobs)
    file = tmp_path / "correction.safetensors"
    done = run_here(
        "calibrate", "eflash_40nm", "--out", file, "--model", tiny_model, "--method", "columns",
        *words(knobs), "--json", folder=tmp_path, program="romer",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert found.found.correction.digest() == theirs["digest"]
    assert list(found.to_frame()["step"]) == [row["step"] for row in theirs["steps"]]
    saved = found.save(tmp_path / "again.safetensors")
    assert saved.read_bytes() == file.read_bytes()
    treated = cimsim.run(
        "eflash_40nm",
        models=tiny_model,
        overrides={**knobs, "run.chip_seeds": 1},
        options=cimsim.RunOptions(correction=saved, force=True),
    )
    assert len(treated.to_frame()) == 1


def test_a_sweep_has_a_row_per_point(tmp_path: Path) -> None:
    found = cimsim.sweep(
        "isaac",
        axes={"tile.adc.bits": [6, 7], "noc.flit_bits": np.array([32, 64])},
        accuracy=False,
        out=tmp_path / "swept",
    )
    frame = found.to_frame()
    assert len(frame) == 4
    assert set(frame["tile.adc.bits"]) == {6, 7}
    assert (tmp_path / "swept" / "report.html").is_file()
    assert 1 <= len(found.front()) <= 4
    assert next(iter(found.shown()["status"])) == "front"


def test_peak_and_tile_print_what_the_command_line_prints(tmp_path: Path) -> None:
    peaks = cimsim.peak(["isaac_peak", "isaac"], overrides={"chip.tiles": 168})
    line = ("peak", "isaac_peak", "isaac", "--set", "chip.tiles=168", "--json")
    assert list(peaks.reports) == json.loads(run_here(*line, folder=tmp_path).stdout)
    assert list(peaks.to_frame()["config"]) == ["isaac_peak", "isaac"]
    tile = cimsim.tile("isaac", rows=32, cols=4, tokens=4, overrides={"tile.adc.bits": 6})
    line = ("tile", "isaac", "--rows", "32", "--cols", "4", "--tokens", "4", "--set",
            "tile.adc.bits=6", "--json")  # fmt: skip
    assert tile.as_dict() == json.loads(run_here(*line, folder=tmp_path).stdout)
    assert "cells" in set(tile.to_frame()["source"])
    tile.draw(tmp_path / "tile.svg")
    assert (tmp_path / "tile.svg").read_text().startswith("<?xml")


def test_overrides_are_values_or_strings() -> None:
    given = {"tile.adc.bits": 6, "run.decode_batch": [1, 2], "chip.analog_parts": ["experts"]}
    one = cimsim.load_chip("isaac", given)
    texts = ["tile.adc.bits=6", "run.decode_batch=[1, 2]", "chip.analog_parts=[experts]"]
    assert one == cimsim.load_chip("isaac", texts)
    assert one == cimsim.load_chip(cimsim.load_chip("isaac"), given)
    assert one.tile.adc.bits == 6
    with pytest.raises(cimsim.CimsimError, match="no value of a knob"):
        cimsim.load_chip("isaac", {"tile.adc.bits": object()})
    with pytest.raises(cimsim.CimsimError, match="one string"):
        cimsim.load_chip("isaac", "tile.adc.bits=6")
    with pytest.raises(cimsim.CimsimError, match=r"tile\.adc\.bits"):
        cimsim.load_chip(one, {"tile.adc.bits": 99})
