"""Every command and plan of the page on sweeps is carried out as printed.

The full-size model is a small one, and points are evaluated in this process.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cimsim.config.load import bundled_folder
from cimsim.config.sweep_file import bundled_sweeps, load_sweep
from cimsim.sweeps.axes import count_settings
from cimsim.sweeps.run import check_plan
from cimsim.workload.shapes import SHAPES
from tests.command_line import run_here
from tests.small_shape import NAME, SMALL_SHAPE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sweeps.md"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [str(block) for block in found]


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_carried_out(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    program, *words = shlex.split(line)
    assert program == "cimsim"
    done = run_here(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if "--out" in words:
        out = tmp_path / words[words.index("--out") + 1]
        assert (out / "report.html").stat().st_size > 10_000
        assert (out / "sweep.csv").read_text().count("\n") > 6


def test_the_plan_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "plan.yaml").write_text(text)
    points, wants = check_plan(load_sweep(tmp_path / "plan.yaml"))
    assert len(points.valid) == 4 * 4 * 4
    assert len(wants.constraints) == 2


def test_bundled_plans_are_on_the_page_and_hold_as_many_points_as_it_says() -> None:
    said = dict(re.findall(r"\| `(\w+)` \| [^|]*?(\d+) (?:points|variants)", PAGE.read_text()))
    assert set(said) == set(bundled_sweeps())
    for name, path in bundled_sweeps().items():
        assert path.parent == bundled_folder() / "sweeps"
        plan = load_sweep(path)
        assert plan.description
        assert count_settings(plan) == int(said[name])
