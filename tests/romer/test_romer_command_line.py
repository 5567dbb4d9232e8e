"""``python -m romer calibrate``: a file that a run accepts, and refusals in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cimsim.cli.romer import app
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, load_correction
from cimsim.stages.accuracy import open_correction

CHIP = "eflash_40nm"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_written_correction_fits_its_model_and_chip_and_no_other(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    path = tmp_path / "correction.safetensors"
    knobs = ("--set", "tile.device.sigma_lsb=8", "--set", "workload.context=64")
    text = run(
        "calibrate",
        CHIP,
        "--out",
        str(path),
        "--tokens",
        "640",
        "--method",
        "columns",
        "--unguarded",
        *knobs,
    )
    assert "columns: kept" in text
    overrides = ("tile.device.sigma_lsb=8", "workload.context=64")
    config = load_chip(find_chip(CHIP), overrides)
    found, warnings = open_correction(path, config, checkpoint.hash, force=False)
    assert warnings == ()
    assert found.digest() == load_correction(path).digest()
    other = load_chip(find_chip(CHIP), (*overrides, "tile.adc.bits=7"))
    with pytest.raises(CimsimError, match="another chip or seed"):
        open_correction(path, other, checkpoint.hash, force=False)
    with pytest.raises(CimsimError, match="another model"):
        open_correction(path, config, "0" * 64, force=False)
    _, warnings = open_correction(path, other, checkpoint.hash, force=True)
    assert len(warnings) == 1


def test_a_text_of_the_user_calibrates_and_the_chip_it_fits_is_named(
    tmp_path: Path, tiny_model: Path
) -> None:
    words = tmp_path / "mine.txt"
    words.write_text("\n\n".join(f"document {i} says {i * i} in words. " * 8 for i in range(12)))
    knobs = ("--set", "workload.context=16", "--model", str(tiny_model), "--tokens", "256")
    digests = []
    for more in ((), ("--text", str(words)), ("--text", str(words), "--seed", "2")):
        path = tmp_path / f"{len(digests)}.safetensors"
        text = run("calibrate", CHIP, "--out", str(path), "--method", "columns", "--unguarded",
                   *knobs, *more)  # fmt: skip
        seed = 2 if "--seed" in more else 0
        assert f"it fits chip seed {seed} of {CHIP} alone" in text
        assert ("run.chip_seeds=1" in text) == (seed == 0)
        digests.append(load_correction(path).digest())
    assert len(set(digests)) == 3
    with pytest.raises(CimsimError, match="in 1 documents"):
        words.write_text("one document of many words. " * 200)
        run("calibrate", CHIP, "--out", str(tmp_path / "c.safetensors"), *knobs, "--text",
            str(words))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "romer_pls"), "did you mean 'romer_plus'"),
        (("--tokens", "600"), "at least 2560"),
        (("--set", "tile.adc.bitz=7"), "bits"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, str], message: str
) -> None:
    path = tmp_path / "correction.safetensors"
    with pytest.raises(CimsimError, match=message) as caught:
        run("calibrate", CHIP, "--out", str(path), *arguments)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.sentence()
    assert not path.exists()


def test_a_missing_folder_is_found_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="no such folder"):
        run("calibrate", CHIP, "--out", str(tmp_path / "absent" / "c.safetensors"))
