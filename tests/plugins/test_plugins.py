"""Plug-ins on the real command line: they join without an edit, and say where they are wrong."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.errors import CimsimError
from cimsim.plugins import load_plugins

HERE = Path(__file__).parent
ALL = [HERE / f"{name}.py" for name in ("star", "cell", "policy", "step")]
CHIP = """
cimsim: 2
extends: isaac
name: starry
noc: {kind: plugin, topology: star, options: {hubs: 2}}
mapping: {policy: mirrored}
calibration: {method: nudge}
tile:
  device: {kind: custom, model: leaning, parameters: {slope: 0.05}, technology: reram, cell_bits: 2}
"""


def cimsim(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cimsim", *map(str, arguments)],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def given(*paths: Path) -> list[str]:
    return [word for path in paths for word in ("--plugin", str(path))]


def write(folder: Path, text: str, name: str = "own.py") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_a_run_takes_topology_device_policy_and_step_from_outside(
    tmp_path: Path, tiny_model: Path
) -> None:
    """One run with four plug-ins, its chips in worker processes."""
    chips = [write(tmp_path, CHIP, "starry.yaml")]
    text = CHIP.replace("name: starry", "name: steeper").replace("slope: 0.05", "slope: 0.4")
    chips.append(write(tmp_path, text, "steeper.yaml"))
    sets = [word for knob in SMALL for word in ("--set", knob)]
    done = cimsim(
        tmp_path, "run", *chips, *given(*ALL), "--model", tiny_model, *sets, "--out", "run",
        "--jobs", 2, "--set", "chip.tiles=12", "--set", "calibration.method=nudge",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "results.csv").open(encoding="utf-8") as file:
        flat, steep = csv.DictReader(file)
    assert float(flat["ppl_noisy_mean"]) != float(steep["ppl_noisy_mean"])
    with (tmp_path / "run" / "chips" / "starry" / "resources.csv").open(encoding="utf-8") as file:
        links = [row["resource"] for row in csv.DictReader(file) if row["kind"] == "link"]
    assert any("router leaf " in name and " to hub " in name for name in links)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))
    assert sorted(manifest["plugins"]) == sorted(map(str, ALL))
    assert all(len(digest) == 64 for digest in manifest["plugins"].values())


def test_the_content_of_a_plugin_is_part_of_the_identity_of_a_run(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = (HERE / "cell.py").read_text("utf-8")
    chip = write(tmp_path, "extends: isaac\nname: own\n", "own.yaml")
    hashes = set()
    for plugins in ([], [source], [source + "# more\n"]):
        own = [write(tmp_path, text) for text in plugins]
        done = cimsim(
            tmp_path, "run", chip, *given(*own), "--model", tiny_model, "--dry-run",
            "--set", "workload.tokens=64", "--set", "workload.context=16",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        hashes.add(next(line for line in done.stdout.splitlines() if "reports/" in line))
    assert len(hashes) == 3


def test_a_plugin_topology_checks_its_own_options(tmp_path: Path, tiny_model: Path) -> None:
    chip = write(tmp_path, CHIP.replace("hubs: 2", "hubs: 0"), "starry.yaml")
    done = cimsim(tmp_path, "validate", chip, *given(*ALL), "--model", tiny_model)
    assert done.returncode == 2
    assert "noc.options.hubs: Input should be greater than or equal to 1" in done.stderr


def test_a_topology_that_nobody_registered_is_refused_with_those_that_are(
    tmp_path: Path, tiny_model: Path
) -> None:
    chip = write(tmp_path, CHIP.replace("topology: star", "topology: stars"), "starry.yaml")
    done = cimsim(tmp_path, "validate", chip, *given(*ALL), "--model", tiny_model)
    assert done.returncode == 2
    assert "noc.topology: unknown topology (found 'stars'); allowed: star" in done.stderr
    assert "did you mean 'star'?" in done.stderr


def test_a_plugin_family_reads_its_checkpoints(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "own model"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    write(folder, json.dumps(config | {"model_type": "own_moe"}), "config.json")
    refused = cimsim(tmp_path, "validate", "isaac", "--model", folder)
    assert "unknown model family (found 'own_moe')" in refused.stderr
    done = cimsim(tmp_path, "validate", "isaac", "--model", folder, *given(HERE / "family.py"))
    assert done.returncode == 0, done.stderr
    assert "isaac.yaml: ok" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import numpy\nimport no_such_module\n", ("own.py:2: ", "No module named")),
        ("x = 1\ny = (\n", ("own.py:2: ", "SyntaxError")),
        ("\n\n1 / 0\n", ("own.py:3: ", "ZeroDivisionError")),
        ("import sys\nsys.exit(0)\n", ("own.py:2: ", "SystemExit")),
        (
            "class Odd(BaseException):\n    __str__ = None\nraise Odd\n",
            ("own.py:3: ", "Odd: <exception str() failed>"),
        ),
        (
            "from cimsim.mac import DeviceModel, register_device\n\n\n"
            "@register_device('pcm')\nclass Mine(DeviceModel):\n    pass\n",
            (
                "own.py:4: ",
                "a device model of this name is registered already, by cimsim.mac",
                "'pcm'",
            ),
        ),
        (
            "from moe_mapping import register_policy\nregister_policy('lpt')(print)\n",
            ("own.py:2: ", "a mapping policy of this name", "'lpt'"),
        ),
        (
            "from romer import register_step\nregister_step('romer')(print)\n",
            ("own.py:2: ", "a calibration method of this name", "'romer'"),
        ),
    ],
)
def test_a_bad_plugin_is_one_sentence_with_file_and_line(
    text: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    own = write(tmp_path, text)
    done = cimsim(tmp_path, "peak", "isaac", *given(own))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for part in says:
        assert part in line


DEVICE = """import numpy as np
from cimsim.mac import DeviceModel, WriteError, register_device
@register_device("odd")
class Odd(DeviceModel):
    def programming(self, target):
        return {}
"""
TOPOLOGY = """import networkx as nx, sys
from cimsim.chip import register_topology
from cimsim.config.section import Section
@register_topology("odd", Section)
def odd(options, tiles):
    return {}
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DEVICE.format("1 / 0"), ("own.py:6: ", "failed in programming", "ZeroDivisionError")),
        (DEVICE.format("None"), ("tile.device.model", "NoneType, not a WriteError", "'odd'")),
        (DEVICE.format("WriteError(np.zeros(3), target)"), ("bias is no array with a number",)),
        (DEVICE.format("WriteError(target, target * np.nan)"), ("sigma is not finite",)),
        (DEVICE.format("WriteError(target, target - 1)"), ("sigma -1 is negative",)),
        (TOPOLOGY.format("odd(options, tiles)"), ("own.py:6: ", "RecursionError")),
        (TOPOLOGY.format("sys.exit(3)"), ("own.py:6: ", "SystemExit")),
        (TOPOLOGY.format("None"), ("noc.topology", "an undirected networkx graph")),
        (TOPOLOGY.format("nx.path_graph(3)"), ("routers by name",)),
        (TOPOLOGY.format("nx.Graph([('a', 'b', {'length': -1})])"), ("lengths of edges",)),
    ],
)
def test_a_plugin_that_fails_at_work_is_blamed_and_not_cimsim(
    text: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    own = write(tmp_path, text)
    chip = {
        DEVICE[:12]: "tile: {device: {kind: custom, model: odd, technology: reram}}\n",
        TOPOLOGY[:12]: "noc: {kind: plugin, topology: odd}\n",
    }[text[:12]]
    write(tmp_path, "extends: isaac\n" + chip, "own.yaml")
    done = cimsim(tmp_path, "validate", "own.yaml", *given(own))
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in says), line


def test_a_plugin_is_a_python_file_of_at_most_16_mib(tmp_path: Path) -> None:
    own = write(tmp_path, "")
    with own.open("r+b") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(CimsimError, match="plug-in is too large"):
        load_plugins([own])
    with pytest.raises(CimsimError, match=r"a plug-in is a Python file.*FILE\.py"):
        load_plugins([write(tmp_path, "", "own.so")])


def test_a_plugin_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = cimsim(tmp_path, "peak", "isaac", *given(tmp_path / "none.py"))
    assert done.returncode == 2
    assert "plug-in not found" in done.stderr
