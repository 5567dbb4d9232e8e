"""Figures are the same bytes on every day and under everybody's settings of matplotlib."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import cimsim
import moe_mapping
import romer
from cimsim.cli.parity_figure import write_adc_models, write_parity
from cimsim.drawing import drawing, write_drawing
from moe_mapping.figure import draw_panels
from romer.study.figures import study_figures

HOSTILE: dict[str, Any] = {
    "lines.linewidth": 5.0,
    "axes.facecolor": "black",
    "axes.grid.which": "both",
    "font.size": 20.0,
    "image.cmap": "gray",
    "svg.hashsalt": None,
    "svg.id": "mine",
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "axes.formatter.use_mathtext": True,
}
ROW: dict[str, Any] = {
    "role": "ablation", "guarded": True, "model": "olmoe-tiny", "analog_parts": ["experts"],
    "level_l": True, "sigma_lsb": 1.0, "scale": "per_matrix", "calibrator": "romer",
    "ppl_noisy": 9.0, "ppl_clean": 7.0, "ppl_calibrated": 8.0, "ci_low": 7.9, "ci_high": 8.1,
    "digital_ops_per_token": 10.0, "gap_closure_nll": 0.5,
}  # fmt: skip
PRIMARY = ROW | {"role": "primary"}


def _panels(path: Path) -> None:
    draw_panels(path, [("a", np.eye(3)), ("b", np.ones((2, 2)))], "load", ("x", "y"))


def _pixels(path: Path) -> None:
    with drawing(3.0, 2.0) as figure:
        figure.add_subplot().plot([1, 2], [1, 4], label="a")
        write_drawing(figure, path)


def _study(path: Path) -> None:
    path.write_bytes(b"".join(p.svg for p in study_figures([PRIMARY, ROW])))


FIGURES: dict[str, Callable[[Path], None]] = {
    "parity.svg": lambda path: write_parity(
        path, [("a", kind, 1.0, 1.1) for kind in ("structural", "fit", "predicted")]
    ),
    "models.svg": lambda path: write_adc_models(path, {"walden": [(4, 1.0), (5, 2.0)]}),
    "study.svg": _study,
    "panels.svg": _panels,
    "panels.pdf": _panels,
    "pixels.png": _pixels,
}


@pytest.mark.parametrize("name", FIGURES)
def test_settings_of_the_user_and_the_date_are_of_no_concern(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / f"1{name}", tmp_path / f"2{name}"
    FIGURES[name](ours)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # matplotlib's today is 1970
    with mpl.rc_context(HOSTILE):
        FIGURES[name](theirs)
        assert mpl.rcParams["lines.linewidth"] == 5.0  # and theirs stay theirs
    assert ours.read_bytes() == theirs.read_bytes()
    assert not re.search(rb"dc:date|CreationDate|tIME", ours.read_bytes())


def test_a_command_line_knows_neither_matplotlibrc_nor_backend_of_the_environment(
    tmp_path: Path,
) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    for name, more in (("plain", {}), ("hostile", {"MPLBACKEND": "module://not.installed"})):
        folder = tmp_path / name
        folder.mkdir()
        if more:
            text = "lines.linewidth: 5\naxes.facecolor: black\nbackend: tkagg\n"
            (folder / "matplotlibrc").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "cimsim", "adc", "--plot", "a.svg"]
        subprocess.run(command, cwd=folder, env=kept | more, check=True, capture_output=True)
    assert (tmp_path / "plain/a.svg").read_bytes() == (tmp_path / "hostile/a.svg").read_bytes()


@pytest.mark.parametrize(
    "words", [("adc", "--plot"), ("published", "--plot"), ("published", "--adc-plot")]
)
def test_a_figure_of_an_unknown_kind_is_refused_before_anything_is_computed(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "cimsim", *words, "a.xyz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert words[-1] in done.stderr and ".svg" in done.stderr


def test_figures_are_set_up_and_saved_in_one_place() -> None:
    places = set()
    for package in (cimsim, moe_mapping, romer):
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if re.search(r"(^|\.)(savefig|Figure|rc_context|rcdefaults|use|pyplot)$", called):
                    places.add(path.relative_to(root.parent).as_posix())
                if isinstance(node, ast.ImportFrom | ast.Import):
                    assert "pyplot" not in ast.unparse(node), path
    assert places == {"cimsim/drawing.py"}
