"""Every command: its help, its normal use, its JSON, its exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cimsim, environment

from cimsim.cli import COMMANDS


@pytest.mark.parametrize("command", ["", *COMMANDS, "bench mac"])
def test_help_fits_the_window_and_says_what_options_mean(command: str, cimsim: Cimsim) -> None:
    found = cimsim(*command.split(), "--help")
    assert found.returncode == 0
    assert found.stderr == ""
    assert "Usage: cimsim" in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", [[], ["run"], ["noc"], ["bench"]])
def test_help_loads_no_heavy_package(command: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['cimsim', *{command!r}, '--help']\n"
        "from cimsim.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "heavy = {'numpy', 'numba', 'scipy', 'pandas', 'matplotlib', 'torch', 'simpy'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("package", ["cimsim", "cimsim.pipeline", "cimsim.session", "moe_mapping"])
def test_importing_loads_neither_torch_nor_matplotlib(package: str) -> None:
    code = f"import sys, {package}; print(sorted({{'torch', 'matplotlib'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_validate_prints_the_size_of_every_chip(cimsim: Cimsim, tmp_path: Path) -> None:
    (tmp_path / "my chip.yaml").write_text("extends: isaac\ntile: {adc: {bits: 7}}\n")
    found = cimsim("validate", "my chip.yaml", "sram_digital_28nm")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith("my chip.yaml: ok, chip ")
    assert len(lines) == 2
    assert all("tiles on" in line and "crossbars for olmoe-tiny" in line for line in lines)


def test_validate_warns_of_a_knob_without_effect(cimsim: Cimsim) -> None:
    found = cimsim("validate", "isaac", "--set", "tile.pe.subtract=digital")
    assert found.returncode == 0
    assert "warning: tile.pe.subtract has no effect" in found.stdout
    assert "warning" not in cimsim("validate", "isaac").stdout


def test_validate_refuses_a_bad_chip_with_its_line(cimsim: Cimsim, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("extends: isaac\nnoc:\n  flit_bit: 32\n")
    found = cimsim("validate", "isaac", "bad.yaml")
    assert found.returncode == 2
    assert "bad.yaml:3" in found.stderr
    assert "did you mean 'flit_bits'" in found.stderr


def test_schema_accepts_every_bundled_chip_keyword(cimsim: Cimsim) -> None:
    found = cimsim("schema")
    assert found.returncode == 0
    schema = json.loads(found.stdout)
    assert {"extends", "tile", "noc", "run"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("tile.adc.bits", ("bit", "8")),
        ("energy_per_token_nj", ("nJ", "energy_dynamic_per_token_nj")),
        ("ppl_noisy_mean", ("results.csv",)),
        ("adc", ("pJ",)),
    ],
)
def test_explain_says_meaning_unit_and_source(
    key: str, words: tuple[str, ...], cimsim: Cimsim
) -> None:
    found = cimsim("explain", key)
    assert found.returncode == 0, found.stderr
    for word in words:
        assert word in found.stdout


def test_explain_suggests_the_nearest_name(cimsim: Cimsim) -> None:
    found = cimsim("explain", "energy_per_tokn_nj")
    assert found.returncode == 2
    assert "did you mean 'energy_per_token_nj'" in found.stderr


def test_peak_prints_figures_and_only_json_when_asked(cimsim: Cimsim) -> None:
    plain = cimsim("peak", "hermes_peak", "isaac", "--set", "chip.tiles=64")
    assert plain.returncode == 0, plain.stderr
    assert "TOPS" in plain.stdout
    as_json = cimsim("peak", "hermes_peak", "--json")
    (report,) = json.loads(as_json.stdout)
    assert report["tops"] > 0


def test_peak_of_a_fitted_chip_asks_for_a_tile_count(cimsim: Cimsim) -> None:
    found = cimsim("peak", "isaac")
    assert found.returncode == 2
    assert "chip.tiles" in found.stderr


def test_published_compares_and_passes(cimsim: Cimsim) -> None:
    found = cimsim("published", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)


def test_noc_prints_only_json_when_asked(cimsim: Cimsim) -> None:
    found = cimsim("noc", "--mesh", "2x2", "--rates", "0.05", "--runs", "2", "--json")
    assert found.returncode == 0, found.stderr
    (point,) = json.loads(found.stdout)
    assert point["offered"] == 0.05


def test_noc_refuses_a_wrong_mesh(cimsim: Cimsim) -> None:
    found = cimsim("noc", "--mesh", "2by2")
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")


def test_doctor_names_versions_models_and_chips(cimsim: Cimsim) -> None:
    found = cimsim("doctor")
    assert found.returncode == 0, found.stderr
    assert "olmoe-tiny" in found.stdout
    assert "isaac" in found.stdout
    assert "numba" in found.stdout


def test_unknown_command_is_refused(cimsim: Cimsim) -> None:
    found = cimsim("simulate")
    assert found.returncode == 2
    assert "simulate" in found.stderr


def test_dry_run_says_what_would_run_and_writes_nothing(
    cimsim: Cimsim, tmp_path: Path, tiny_model: Path
) -> None:
    found = cimsim("run", "isaac", "raella", "--dry-run", "--out", "here", "--jobs", "1")
    assert found.returncode == 0, found.stderr
    *said, memory = found.stdout.splitlines()
    assert said == [
        "isaac: olmoe-tiny on isaac",
        "raella: olmoe-tiny on raella",
        "2 runs, 1 at once, into here",
    ]
    assert re.fullmatch(r"memory: at most about [\d.]+ GB at the peak, of [\d.]+ GB", memory)
    assert list(tmp_path.iterdir()) == []


def test_a_bug_asks_for_a_report_and_exits_with_3() -> None:
    code = (
        "from cimsim.cli.entry import new_app, run_app\n"
        "app = new_app('test')\n"
        "@app.command()\n"
        "def broken() -> None:\n    raise ZeroDivisionError('here')\n"
        "run_app(app, 'cimsim')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 3
    assert "Traceback" in found.stderr
    assert "this is a bug in cimsim (ZeroDivisionError: here)" in found.stderr


def test_a_device_without_memory_is_one_sentence_and_exits_with_1() -> None:
    code = (
        "import torch\n"
        "from cimsim.cli.entry import new_app, run_app\n"
        "app = new_app('test')\n"
        "@app.command()\n"
        "def large() -> None:\n    raise torch.OutOfMemoryError('CUDA out of memory. Tried')\n"
        "run_app(app, 'cimsim')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: the device has not enough memory left for this: other programs")
    assert "run.device_gb" in line


def test_a_failed_simulation_exits_with_1() -> None:
    code = (
        "from cimsim.cli.entry import new_app, run_app\n"
        "from cimsim.errors import SimulationError\n"
        "app = new_app('test')\n"
        "@app.command()\n"
        "def stalls() -> None:\n    raise SimulationError('tile 3 waits for link 4')\n"
        "run_app(app, 'cimsim')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert found.stderr == "error: tile 3 waits for link 4\n"


def test_output_into_a_closed_pipe_is_no_error(cimsim: Cimsim) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cimsim", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode in {0, 141}


def test_validate_says_in_one_table_what_a_model_is_and_takes(cimsim: Cimsim) -> None:
    found = cimsim("validate", "--model", "olmoe-tiny", "eflash_40nm")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    said = {line.split()[0]: line for line in lines[1:] if line.startswith("  ")}
    assert said["family"].split() == ["family", "olmoe"]
    assert "4, 4 with experts, width 256" in said["layers"]
    assert "64 a layer, 8 per token, 28 wide; no shared ones" in said["experts"]
    # Two bytes a weight: 15.3 MB hold 7.65 M parameters and norms.
    assert "7.7 M" in said["parameters"]
    assert "BF16 (15.3 MB)" in said["stored"]
    assert "4,096 tokens" in said["tokenizer"]
    for mode in ("detailed", "folded"):
        assert said[mode].endswith("yes")
        assert "GB" in said[mode]
    assert max(map(len, lines[1:8] + lines[9:])) <= 80


def test_validate_shows_a_model_on_a_default_chip_and_wants_something_to_check(
    cimsim: Cimsim,
) -> None:
    found = cimsim("validate", "--model", "qwen-moe-tiny")
    assert "isaac.yaml: ok" in found.stdout
    assert "shared ones in" in found.stdout
    nothing = cimsim("validate")
    assert nothing.returncode == 2
    assert "nothing to check" in nothing.stderr


def test_a_model_without_crossbars_takes_no_tile_mode(cimsim: Cimsim) -> None:
    assert "no matrix of the model is on crossbars" in cimsim(
        "validate", "--model", "olmoe-tiny", "npu_hbm"
    ).stdout  # fmt: skip
