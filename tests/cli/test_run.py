"""`cimsim run` through real processes: files, bytes, JSON, jobs and threads, interruption."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import Cimsim, environment, small_run
from tiny_model import SMALL

from cimsim.config.load import find_chip, load_chip
from cimsim.model.correction import identity
from cimsim.model.correction_file import save_correction
from cimsim.stages.identity import chip_identity
from cimsim.stages.models import open_model
from tests import small_shape

TABLES = ("results", "per_layer", "per_seed", "energy", "scale", "tile_load", "expert_load")
NOISY = """\
extends: isaac
name: my noisy chip
tile: {device: {sigma: 0.05, read_noise: {sigma: 0.1, sigma_unit: cell_level}}}
"""


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> dict[str, subprocess.CompletedProcess[str]]:
    """The same two chips twice: one after the other on one thread, then side by side on two."""
    folder = tmp_path_factory.mktemp("a folder")
    (folder / "my noisy chip.yaml").write_text(NOISY)
    (folder / "my text.txt").write_text("Rain fell on the harbour all night. " * 40)
    found = {}
    for name, options in (
        ("alone", ("--jobs", "1", "--threads", "1")),
        ("beside", ("--jobs", "2", "--threads", "2", "--json")),
    ):
        found[name] = subprocess.run(
            [
                *(sys.executable, small_shape.__file__, "run", "my noisy chip.yaml"),
                *("sram_digital_28nm", "--text", "my text.txt", "--out", f"runs/{name} 1"),
                *small_run(tiny_model),
                *options,
            ],
            cwd=folder,
            env=environment(NUMBA_NUM_THREADS="2"),
            capture_output=True,
            text=True,
            check=False,
        )
        found[name].folder = folder / "runs" / f"{name} 1"  # type: ignore[attr-defined]
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_succeeds_and_fits_an_80_column_window(runs) -> None:
    process = runs["alone"]
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert [line for line in lines[:-1] if len(line) > 80] == []
    assert lines[0].startswith("full size: ")
    assert lines[2].startswith("my noisy chip ")
    assert lines[-1].endswith("report.html")
    assert "\x1b" not in process.stdout + process.stderr
    assert "\r" not in process.stderr


def test_progress_and_seconds_a_chip_go_to_stderr(runs) -> None:
    for process in runs.values():
        for chip in ("my noisy chip", "sram_digital_28nm"):
            assert any(line.startswith(f"{chip}: ") for line in process.stderr.splitlines())
        assert "Traceback" not in process.stderr


def test_json_prints_only_json(runs) -> None:
    process = runs["beside"]
    assert process.returncode == 0, process.stderr
    rows = json.loads(process.stdout)
    assert [r["config"] for r in rows] == ["my noisy chip", "sram_digital_28nm"]
    assert rows[0]["model"] == "tiny moe"


def test_folder_holds_every_promised_file(runs) -> None:
    folder = runs["alone"].folder
    names = {p.name for p in folder.iterdir()}
    promised = {f"{table}.csv" for table in TABLES} | {
        "report.html",
        "report.md",
        "trace.json.gz",
        "config.resolved.yaml",
        "manifest.json",
        "figures",
        "chips",
    }
    assert promised <= names
    assert not [p for p in folder.rglob("*") if p.name.endswith(".tmp")]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["finished"] == ["my noisy chip", "sram_digital_28nm"]
    assert json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    assert len(list(yaml.safe_load_all((folder / "config.resolved.yaml").read_text()))) == 2


def test_tables_are_byte_equal_whatever_jobs_and_threads(runs) -> None:
    one, two = runs["alone"].folder, runs["beside"].folder
    for table in (*TABLES, "latency"):
        assert (one / f"{table}.csv").read_bytes() == (two / f"{table}.csv").read_bytes()
    assert (one / "trace.json.gz").read_bytes() == (two / "trace.json.gz").read_bytes()


def test_no_table_holds_a_path_or_a_date(runs) -> None:
    for path in runs["alone"].folder.glob("*.csv"):
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) + "/" not in text
        assert "/tmp" not in text  # noqa: S108 - looking for it, not writing to it
        assert time.strftime("%Y-%m-%d") not in text


def test_energy_rows_in_the_file_sum_to_the_row(runs) -> None:
    folder = runs["alone"].folder
    for row in rows_of(folder / "results.csv"):
        parts = [
            float(r["energy_per_token_nj"])
            for r in rows_of(folder / "energy.csv")
            if r["config"] == row["config"]
            and r["phase"] == f"decode_b{row['latency_batch']}"
            and r["calibrated"].lower() in {"false", "0"}
        ]
        assert sum(parts) == pytest.approx(float(row["energy_per_token_nj"]), rel=1e-6)


def test_scale_covers_prefill_two_batches_of_decode_and_one_without_memory_limit(runs) -> None:
    rows = rows_of(runs["alone"].folder / "scale.csv")
    shapes = {(r["config"], r["phase"], r["batch"], r["context"]) for r in rows}
    assert len(shapes) == 2 * 4
    assert {b for _, phase, b, _ in shapes if phase == "decode"} == {"1", "32"}
    assert {c for *_, c in shapes} == {"2048"}
    assert all(float(r["energy_per_token_nj"]) > 0 for r in rows)


def test_resolved_config_reproduces_the_run(runs, tmp_path: Path) -> None:
    from cimsim.config.load import config_hash, load_chip

    folder = runs["alone"].folder
    (first,) = [r for r in rows_of(folder / "results.csv") if r["config"] == "my noisy chip"]
    resolved = next((folder / "chips").glob("*noisy*")) / "config.resolved.yaml"
    assert config_hash(load_chip(resolved))[:12] == first["chip_hash"]


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _hears_ctrl_c() -> None:
    """What a shell in the foreground gives: in the background it has SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.full), "2"])
def test_ctrl_c_leaves_finished_chips_readable(jobs: str, tmp_path: Path, tiny_model: Path) -> None:
    # Options win over files, so what makes one chip slow must not be among the options.
    small = "workload: {tokens: TOKENS, context: 16}\ncalibration: {tokens: 256}\n"
    (tmp_path / "slow.yaml").write_text(
        f"extends: isaac\n{small}run: {{chip_seeds: 1000}}\n".replace("TOKENS", "8192")
    )
    (tmp_path / "quick.yaml").write_text(
        f"extends: sram_digital_28nm\n{small}".replace("TOKENS", "128")
    )
    options = ("--model", str(tiny_model))
    process = subprocess.Popen(
        [
            *(sys.executable, small_shape.__file__),
            *("run", "quick.yaml", "slow.yaml", "--out", "run"),
            *("--jobs", jobs, "--threads", "1", *options),
        ],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hears_ctrl_c,  # noqa: PLW1509 - Popen comes before any thread
    )
    try:
        finished = tmp_path / "run" / "chips" / "quick" / "results.csv"
        deadline = time.monotonic() + 300  # kernels may have to be compiled first
        while not finished.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert finished.exists(), process.communicate(timeout=10)[1]
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        asked = time.monotonic()
        # The slow chip alone would go on for many minutes; a loaded machine may take seconds.
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert out == ""
    # Python's own resource tracker notices later that its parent is gone: when, is the machine's
    # affair; that nothing is left behind is ours.
    while alive(process.pid) and time.monotonic() - asked < 60.0:
        time.sleep(0.05)
    assert not alive(process.pid)
    (row,) = rows_of(tmp_path / "run" / "results.csv")
    assert row["config"] == "quick"
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["complete"] is False
    assert manifest["finished"] == ["quick"]
    assert (tmp_path / "run" / "report.html").exists()


def test_a_correction_for_other_chip_seeds_is_told_before_the_run(
    cimsim: Cimsim, tiny_model: Path, tmp_path: Path
) -> None:
    given = tmp_path / "made for chip 0.safetensors"
    chip = chip_identity(load_chip(find_chip("isaac"), SMALL), 0)
    save_correction(identity(open_model(tiny_model).hash, chip), given)
    options = ("run", "isaac", *small_run(tiny_model), "--correction", str(given), "--dry-run")
    told = cimsim(*options)
    assert told.returncode == 0, told.stderr
    assert "warning: the correction was made for chip seed 0 and is applied to all 2" in told.stdout
    assert "correction" not in cimsim(*options, "--set", "run.chip_seeds=1").stdout
