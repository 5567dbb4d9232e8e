"""What a newcomer sees first: the program alone, and what it says of the machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cimsim.stages.cores import Cores, quota_cores
from tests.command_line import run_here


def test_the_program_alone_shows_three_commands_that_exist(tmp_path: Path) -> None:
    shown = run_here(folder=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert max(map(len, shown.stdout.splitlines())) <= 96
    commands = re.findall(r"^  cimsim (\w+)", shown.stdout, re.MULTILINE)
    assert commands == ["run", "explain", "doctor"]
    for name in commands:
        assert run_here(name, "--help", folder=tmp_path).returncode == 0


def test_doctor_tells_cores_caches_and_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMSIM_CACHE_DIR", str(tmp_path / "stages"))
    said = run_here("doctor", folder=tmp_path).stdout
    assert re.search(r"^  numba \d", said, re.MULTILINE)
    assert re.search(r"^cores: [\d.]+ for this process \(\d+ present, ", said, re.MULTILINE)
    assert f"stage cache: {tmp_path / 'stages'}, writable" in said
    assert re.search(r"^compiled kernels: /.*, writable$", said, re.MULTILINE)
    assert re.search(r"^GPU: ", said, re.MULTILINE)
    assert "isaac" in said
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIMSIM_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert "stage cache: cannot be written: " in run_here("doctor", folder=tmp_path).stdout


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_quota_is_time_over_period(
    files: dict[str, str], cores: float | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert quota_cores(tmp_path) == cores
    assert Cores(8, 4, cores).usable == (4 if cores is None else min(4, cores))
