"""Every command that the README shows exists and is accepted; bundled chips are complete."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from cimsim.chip import analog_units, build_mesh
from cimsim.config.load import bundled_chips, load_chip
from cimsim.model import build_program
from cimsim.stages.models import open_model
from cimsim.workload.program import Program

ROOT = Path(__file__).resolve().parents[2]
CLI = ".venv/bin/cimsim"
# What a command would take minutes for is checked without it.
SHORTER = {"run": ("--dry-run",), "calibrate": ("--help",), "study": ("--seconds", "0")}


def fenced(language: str) -> list[str]:
    """Return the fenced blocks of the README in a language."""
    blocks, inside, kept = [], False, []
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            if inside:
                blocks.append(dedent("\n".join(kept)))
            inside, kept = not inside and line.strip()[3:] == language, []
        elif inside:
            kept.append(line)
    return blocks


def commands() -> list[str]:
    lines = [line for block in fenced("sh") for line in block.splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def answer_of(words: list[str], folder: Path) -> str:
    """Return what a command prints, carried out in a folder; it must succeed."""
    found = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout
    return found.stdout


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader of the README has it: the tree, a chip file and a text."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "my.yaml").write_text(fenced("yaml")[0])
    (folder / "my_cell.py").write_text(fenced("python")[0])
    (folder / "mytext.txt").write_text("The tide came in before noon. " * 400)
    for name in ("arch_configs", "tests"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_readme_has_commands_and_a_chip() -> None:
    assert len(commands()) >= 8
    assert fenced("yaml")


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_is_accepted(line: str, newcomer: Path) -> None:
    line, _, target = line.partition(" > ")
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        answer_of(["make", "--dry-run", *words[1:]], ROOT)
        return
    if words[0] == CLI:
        words = [".venv/bin/python", "-m", "cimsim", *words[1:]]
    assert words[:2] == [".venv/bin/python", "-m"], line
    command = words[3]
    words += SHORTER.get(command, ())
    if "--correction" in words:
        # Made by the command before it, which is not carried out here.
        (newcomer / words[words.index("--correction") + 1]).touch()
    answer_of([sys.executable, *words[1:]], newcomer)
    assert not target or target.split()[0]


def test_the_device_model_of_the_readme_passes_its_own_test(newcomer: Path) -> None:
    words = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "my_cell.py"]
    assert "1 passed" in answer_of([sys.executable, *words], newcomer)


def test_a_device_model_is_found_in_the_current_folder(newcomer: Path) -> None:
    """As by the console script, which does not look there by itself."""
    line = next(line for line in commands() if "my_cell" in line)
    code = "import sys; sys.path[0] = '/'; from cimsim.cli import main; main()"
    answer = answer_of([sys.executable, "-c", code, *shlex.split(line)[1:]], newcomer)
    assert "error by source" in answer


def test_files_that_the_readme_links_to_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [part.split(")")[0] for part in text.split("](")[1:]]
    local = [t for t in targets if not t.startswith("http")]
    assert [t for t in local if not (ROOT / t).exists()] == []


@pytest.fixture(scope="module")
def program() -> Program:
    return build_program(open_model("olmoe-tiny"))


@pytest.mark.parametrize("name", sorted(bundled_chips()))
def test_bundled_chip_loads_and_holds_the_default_model(name: str, program: Program) -> None:
    config = load_chip(bundled_chips()[name])
    assert config.name == name
    assert config.description
    needed = sum(u.crossbars for u in analog_units(program, config))
    mesh = build_mesh(config, needed)
    room = mesh.n_tiles * mesh.crossbars_per_tile
    assert room >= needed or config.chip.switching != "refuse"


def test_bundled_chips_differ_in_what_architects_vary() -> None:
    chips = [load_chip(path) for path in bundled_chips().values()]
    assert len(chips) >= 6
    assert {"reram", "pcm", "eflash", "sram"} <= {c.tile.device.technology for c in chips}
    assert len({c.tile.crossbar.rows for c in chips}) >= 3
    assert len({c.tile.adc.bits for c in chips if c.tile.crossbar.kind == "analog"}) >= 2
    assert len({c.tile.device.cell_bits for c in chips}) >= 3
    assert any(c.tile.crossbar.kind == "digital" for c in chips)
