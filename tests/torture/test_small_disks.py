"""Runs into file systems that are too small: one sentence, exit 1, finished chips readable."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import SMALL

from tests.torture.killed import faults, small_run

MOMENTS = 40


@pytest.fixture(scope="module")
def size_kb(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> int:
    """What a whole run takes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(small_run(folder, tiny_model, SMALL, 2), check=True, capture_output=True)
    return sum(-(-p.stat().st_size // 4096) * 4 for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder to mount on."""
    place = tmp_path / "disk"
    place.mkdir()
    yield place
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


@pytest.mark.full
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_run_into_a_full_disk_is_one_sentence_and_whole_files(
    moment: int, disk: Path, size_kb: int, tiny_model: Path
) -> None:
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    size = f"size={max(8, size_kb * moment // MOMENTS)}k"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    words = small_run(disk / "run", tiny_model, SMALL, 2)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr or "full" in done.stderr
    assert faults(disk / "run") == []
