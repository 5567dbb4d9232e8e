"""Wrong input: one clear sentence on stderr, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Cimsim, small_run
from tiny_model import SMALL

from cimsim.errors import CimsimError
from cimsim.stages.plan import Request, make_plan

CHIP = "extends: isaac\nname: mine\n"


@dataclass(frozen=True)
class Wrong:
    """One mistake.

    Attributes:
        arguments: of `cimsim run`; {model} is the tiny checkpoint's folder.
        says: what the sentence must contain.
        files: files to make beforehand, by name.
    """

    arguments: tuple[str, ...]
    says: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()


MISTAKES = {
    "missing file": Wrong(("nowhere.yaml",), ("nowhere.yaml", "no such file", "isaac")),
    "misspelt bundled chip": Wrong(("isac",), ("isac", "did you mean 'isaac'")),
    "bad YAML": Wrong(
        ("my chip.yaml",), ("my chip.yaml:2",), (("my chip.yaml", "name: x\n  tile: [1\n"),)
    ),
    "empty file": Wrong(("empty.yaml",), ("empty.yaml",), (("empty.yaml", ""),)),
    "not UTF-8 chip": Wrong(("latin.yaml",), ("latin.yaml",), (("latin.yaml", "\udce9: 1\n"),)),
    "misspelt key": Wrong(
        ("my chip.yaml",),
        ("my chip.yaml:3", "tile.adc.bitz", "did you mean 'bits'"),
        (("my chip.yaml", CHIP + "tile: {adc: {bitz: 6}}\n"),),
    ),
    "wrong type": Wrong(
        ("my chip.yaml",),
        ("my chip.yaml:4", "tile.adc.bits", "integer"),
        (("my chip.yaml", CHIP + "tile:\n  adc: {bits: six}\n"),),
    ),
    "out of range": Wrong(
        ("isaac", "--set", "tile.adc.bits=40"), ("tile.adc.bits", "40", "16", "--set")
    ),
    "misspelt override": Wrong(("isaac", "--set", "tile.adc.bit=4"), ("tile.adc.bit", "bits")),
    "override without a value": Wrong(("isaac", "--set", "tile.adc.bits"), ("KEY=VALUE",)),
    "model does not fit": Wrong(
        ("sram_digital_28nm", "--set", "chip.tiles=1", "--set", "tile.pes=1"),
        ("chip.tiles", "short", "fit"),
    ),
    "unknown model": Wrong(("isaac", "--model", "olmo-tiny"), ("did you mean 'olmoe-tiny'",)),
    "folder is no checkpoint": Wrong(
        ("isaac", "--model", "folder"), ("folder", "config.json"), (("folder/note", ""),)
    ),
    "text not found": Wrong(("isaac", "--text", "no text.txt"), ("no text.txt", "--text")),
    "text not UTF-8": Wrong(
        ("isaac", "--text", "latin.txt"), ("latin.txt", "UTF-8"), (("latin.txt", "\udce9t\udce9"),)
    ),
    "text too short": Wrong(
        ("isaac", "--text", "short.txt"), ("short.txt", "tokens"), (("short.txt", "Few words."),)
    ),
    "output is a file": Wrong(
        ("isaac", "--out", "taken"), ("taken", "file, not a folder"), (("taken", "x"),)
    ),
    "output is not empty": Wrong(
        ("isaac", "--out", "full"), ("full", "--overwrite"), (("full/thesis.txt", "precious"),)
    ),
    "correction not found": Wrong(
        ("isaac", "--correction", "none.safetensors"), ("none.safetensors", "--correction")
    ),
    "two chips of one name": Wrong(("isaac", "isaac"), ("isaac", "twice")),
    "no chip at all": Wrong((), ("Missing argument", "files")),
    "unknown option": Wrong(("isaac", "--tokns", "3"), ("--tokns", "--tokens")),
}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def assert_refused(process: object, says: tuple[str, ...]) -> None:
    """Check exit code, one sentence on stderr, and that it says what it must."""
    code, out, err = process.returncode, process.stdout, process.stderr  # type: ignore[attr-defined]
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.strip().splitlines() if not line.startswith("memory: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    for words in says:
        assert words in lines[0], lines[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(
    name: str, cimsim: Cimsim, tmp_path: Path, tiny_model: Path
) -> None:
    wrong = MISTAKES[name]
    for file, content in wrong.files:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = tree(tmp_path)
    small = small_run(tiny_model)
    if "--model" in wrong.arguments:
        small = small[2:]
    # What the case sets comes last, so that it wins.
    assert_refused(cimsim("run", *small, *wrong.arguments), wrong.says)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("knob", "hint"),
    [("mapping.policy=autos", "'auto'"), ("calibration.method=romer_pluss", "'romer_plus'")],
)
def test_a_name_that_nothing_is_registered_under_is_refused_before_any_computing(
    knob: str, hint: str, tmp_path: Path
) -> None:
    request = Request(chips=("hermes", "isaac"), overrides=(knob,), out=tmp_path / "run")
    with pytest.raises(CimsimError, match=hint) as wrong:
        make_plan(request)
    assert wrong.value.key == knob.partition("=")[0]


def test_a_byte_order_mark_changes_no_run(tiny_model: Path, tmp_path: Path) -> None:
    hashes = set()
    for mark in ("", "\ufeff"):
        (tmp_path / "text.txt").write_text(mark + "A few words to score. " * 20, "utf-8")
        (tmp_path / "my.yaml").write_text(mark + CHIP, "utf-8")
        plan = make_plan(
            Request(
                chips=(str(tmp_path / "my.yaml"),),
                overrides=SMALL,
                models=(str(tiny_model),),
                text=tmp_path / "text.txt",
                out=tmp_path / "run",
            )
        )
        hashes.add(plan.run_hash)
    assert len(hashes) == 1


def broken_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def broken_truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{not json")


def broken_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))


def broken_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_experts": 9}))


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (broken_pickle, ("pytorch_model.bin", "pickle", "safetensors")),
        (broken_truncated, ("model.safetensors",)),
        (broken_config, ("config.json",)),
        (broken_family, ("model_type", "llama", "olmoe")),
        (broken_shape, ("tensor",)),
        (broken_tokenizer, ("tokenizer.json",)),
    ],
)
def test_damaged_checkpoints_are_refused(
    damage: Callable[[Path], None],
    says: tuple[str, ...],
    cimsim: Cimsim,
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    folder = tmp_path / "broken model"
    shutil.copytree(tiny_model, folder)
    damage(folder)
    before = tree(tmp_path)
    assert_refused(cimsim("run", "isaac", *small_run(folder)), says)
    assert tree(tmp_path) == before


def test_unwritable_output_is_refused(cimsim: Cimsim, tmp_path: Path, tiny_model: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    # Root may write into any folder but not into that of the kernel.
    out = locked / "run" if os.geteuid() else Path("/proc/run of cimsim")
    found = cimsim("run", "isaac", *small_run(tiny_model), "--out", out)
    assert_refused(found, (str(out),))


def test_output_below_a_file_is_refused(cimsim: Cimsim, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "taken").write_text("x")
    found = cimsim("run", "isaac", *small_run(tiny_model), "--out", "taken/run")
    assert_refused(found, ("taken", "not a writable folder"))
