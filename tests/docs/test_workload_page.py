"""Commands and files of the page on workloads and baselines are carried out as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cimsim.config.baseline import bundled_baselines, open_baseline
from cimsim.config.shape_file import bundled_shapes
from cimsim.stages.shapes import open_shape
from tests.command_line import run_here

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "workloads.md").read_text("utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_carried_out(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    done = run_here(*shlex.split(line)[1:], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_file_of_the_page_is_a_shape(tmp_path: Path) -> None:
    shape, _ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "small.yaml").write_text(shape)
    program = open_shape(str(tmp_path / "small.yaml"))
    assert program.name == "small_net"
    convolutions = 1024 * 9 * (3 * 16 + 2 * 16 * 16)
    assert program.linear_macs_per_token() == convolutions + 160


def test_the_baseline_of_the_page_is_one(tmp_path: Path) -> None:
    _, baseline = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "npu.yaml").write_text(baseline)
    assert open_baseline(str(tmp_path / "npu.yaml")).name == "my_npu"
    assert all(f"`{name}`" in PAGE for name in bundled_baselines())


def test_every_bundled_shape_is_on_the_page() -> None:
    assert set(bundled_shapes()) <= set(re.findall(r"\| `([\w-]+)` \|", PAGE))
