"""Every command that the README shows is carried out as printed; bundled chips are complete."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

from cimsim.chip import analog_units, build_mesh
from cimsim.config.load import bundled_chips, load_chip
from cimsim.model import build_program
from cimsim.stages.models import open_model
from cimsim.workload.program import Program

ROOT = Path(__file__).resolve().parents[2]
MINUTES = "takes minutes"
# What is not carried out, and why; everything else is, as printed.
NOT_RUN = {
    "make run": "builds the environment; eight chips take minutes",
    "make run CHIPS='isaac puma'": "as make run",
    **dict.fromkeys(
        (
            "cimsim sweep isaac --axis tile.adc.bits=6,7,8 --axis tile.crossbar.rows=128,256 "
            "--accuracy off --out reports/quick",
            "cimsim sweep memory_batch --out reports/memory",
            "cimsim search memory_batch --trials 24 --out reports/found",
        ),
        "on docs/sweeps.md too, which tests/docs/test_sweep_docs.py carries out",
    ),
    "make test": "the suite that this test is part of",
    "make test-full": "as make test",
    "make golden-check": "the tests of tests/golden, part of the suite",
    "cimsim bench mac": MINUTES,
    "cimsim bench engine": MINUTES,
    "cimsim bench mapping": MINUTES,
    "cimsim bench network": MINUTES,
    "cimsim bench mapping --ablation --reference tests/mapping/data": MINUTES,
    "cimsim bench torch": "needs a CUDA device: make test-gpu",
    "cimsim explain NAME": "NAME stands for any knob, column or component",
    "python -m romer calibrate": "names the command; it is carried out in full elsewhere",
    "python -m romer study": "12 core-hours",
    ".venv/bin/python -m romer study --reduced --jobs 2 --out reports/romer-reduced": (
        "minutes: tests/romer/test_study_whole.py carries it out"
    ),
    ".venv/bin/python -m romer study --plan romer/study/map.yaml --reduced --jobs 2 "
    "--out reports/map-reduced": "minutes: tests/romer/test_map.py carries a smaller plan out",
}


def text_and_blocks() -> tuple[str, list[tuple[str, str]]]:
    """Return the README's prose and its fenced blocks, each with its language."""
    prose, blocks, inside = [], [], False
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            inside = not inside
            if inside:
                blocks.append((line.strip()[3:], ""))
        elif inside:
            language, block = blocks.pop()
            blocks.append((language, f"{block}{line}\n"))
        else:
            prose.append(line)
    return " ".join(prose), blocks


def fenced(language: str) -> list[str]:
    """Return the fenced blocks of the README in a language."""
    return [dedent(block) for found, block in text_and_blocks()[1] if found == language]


def commands() -> list[str]:
    """Return the commands of the README's shell blocks, without comments."""
    lines = [line.partition("   #")[0].rstrip() for b in fenced("sh") for line in b.splitlines()]
    return [line for line in lines if line.split(" #")[0].strip()]


def inline_commands() -> list[str]:
    """Return the commands in the README's prose and tables."""
    spans = re.findall(r"`([^`]+)`", text_and_blocks()[0])
    known = ("cimsim ", "python ", "make ", ".venv/bin/")
    return sorted({s for s in spans if s.startswith(known)} - set(commands()))


class Newcomer:
    """A folder as a reader of the README has it, where commands are carried out as printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._answers: dict[str, str] = {}
        (folder / "my.yaml").write_text(fenced("yaml")[0])
        (folder / "my_cell.py").write_text(fenced("python")[0])
        (folder / "mytext.txt").write_text("The tide came in before noon. " * 400)
        (folder / ".venv").symlink_to(sys.prefix)
        for name in ("arch_configs", "tests"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "reports").mkdir()

    def answer(self, line: str) -> str:
        """Return what a command prints, after the commands that write what it reads."""
        if line not in self._answers:
            lines = commands()
            for earlier in lines[: lines.index(line)] if line in lines else ():
                words = shlex.split(earlier)
                if "--out" in words and words[words.index("--out") + 1] in shlex.split(line):
                    self.answer(earlier)
            self._answers[line] = answer_of(["sh", "-c", line], self.folder)
        return self._answers[line]


def answer_of(words: list[str], folder: Path) -> str:
    """Return what a command prints, carried out in a folder; it must succeed."""
    # As a newcomer has it: what one command computed, the next ones need not.
    own = {k: v for k, v in os.environ.items() if k != "CIMSIM_NO_CACHE"}
    found = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=900,
        env={**own, "CIMSIM_CACHE_DIR": str(folder / "cache")},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return Newcomer(tmp_path_factory.mktemp("newcomer"))


def test_the_readme_has_commands_and_a_chip() -> None:
    assert len(commands()) >= 8
    assert len(inline_commands()) >= 8
    assert fenced("yaml")


def test_what_is_not_run_is_in_the_readme() -> None:
    assert set(NOT_RUN) <= {*commands(), *inline_commands()}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("line", [c for c in commands() if c not in NOT_RUN], ids=str)
def test_every_command_of_the_readme_is_carried_out_as_printed(
    line: str, newcomer: Newcomer
) -> None:
    answer, (_, _, target) = newcomer.answer(line), line.partition(" > ")
    assert (newcomer.folder / target).read_text() if target else answer


@pytest.mark.parametrize("line", [c for c in inline_commands() if c not in NOT_RUN], ids=str)
def test_every_quick_command_in_the_text_of_the_readme_is_carried_out(
    line: str, newcomer: Newcomer
) -> None:
    assert newcomer.answer(line if line.startswith(".venv") else f".venv/bin/{line}")


@pytest.mark.parametrize("line", NOT_RUN, ids=str)
def test_what_is_not_run_exists_with_its_options(line: str, newcomer: Newcomer) -> None:
    """`make` says what it would do; options are read before `--help` answers."""
    program, _, arguments = line.partition(" ")
    if program == "make":
        assert answer_of(["make", "--dry-run", *shlex.split(arguments)], ROOT)
    else:
        folder = "" if program.startswith(".venv") else ".venv/bin/"
        assert newcomer.answer(f"{folder}{line} --help")


def test_commands_are_the_installed_scripts(newcomer: Newcomer) -> None:
    """.venv/bin/NAME of the README is what the package installs, of these very tests."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts = set(tomllib.load(file)["project"]["scripts"])
    shown = {line.split()[0] for line in [*commands(), *inline_commands()]}
    shown = {w.removeprefix(".venv/bin/") for w in shown} - {"make", "python"}
    assert shown <= scripts
    for name in (*scripts, "python"):
        path = newcomer.folder / ".venv/bin" / name
        assert os.access(path, os.X_OK), path
        assert path.parent.resolve() == Path(sys.executable).parent.resolve()


def test_the_device_model_of_the_readme_passes_its_own_test(newcomer: Newcomer) -> None:
    words = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "my_cell.py"]
    assert "1 passed" in answer_of([sys.executable, *words], newcomer.folder)


def test_a_device_model_is_loaded_from_the_file_that_is_named(newcomer: Newcomer) -> None:
    line = next(line for line in commands() if "my_cell" in line)
    assert "error by source" in newcomer.answer(line)


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
