"""Machine code of other sources never answers, wherever Numba keeps what it compiled.

The tests work on a small tree: our cache and random numbers as they are, and a kernel in a file
of its own that inlines the noise of one module and a constant of another.
"""

from __future__ import annotations

import ast
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cimsim
import moe_mapping
import romer
from cimsim.rng import normals_of_bits

CALLER = """
import numpy as np
from numba import njit
from cimsim.gain import GAIN
from cimsim.kernel_cache import cached
from cimsim.rng import bits_to_normals

@cached
@njit()
def noise():
    out = np.empty(1, np.float32)
    bits_to_normals(np.full(1, 123456789, np.uint32), out)
    return out[0] * np.float32(GAIN)
"""
ANSWER = "from cimsim.caller import noise; print(noise(), len(noise.stats.cache_hits))"
NOISE = normals_of_bits(np.array([123456789], np.uint32))[0]
NUMBA_FOLDERS = ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES")


def _tree(folder: Path) -> Path:
    package, source = folder / "cimsim", Path(cimsim.__file__).parent
    package.mkdir(parents=True)
    for name in ("kernel_cache.py", "rng.py"):
        shutil.copy(source / name, package)
    for name, text in (("__init__", ""), ("gain", "GAIN = 1.0\n"), ("caller", CALLER)):
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    return package


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _louder(package: Path) -> None:
    _edit(package / "rng.py", "z = quantile + slope", "z = np.float32(10) * (quantile + slope")
    _edit(package / "rng.py", "np.int32(word & _FRACTION))", "np.int32(word & _FRACTION)))")


def _run(package: Path, code: str = ANSWER, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in NUMBA_FOLDERS}
    # Python's own cache of byte code tells files of one size and second not apart.
    environment = kept | {"PYTHONDONTWRITEBYTECODE": "1"} | more
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command,
        cwd=package.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=_without_rights_of_root,
    )


def _without_rights_of_root() -> None:
    """Root reads and writes what nobody else may; a process that starts after this does not."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if os.geteuid() == 0:
            ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def _answer(package: Path, code: str = ANSWER, **more: str) -> tuple[np.float32, int]:
    """The kernel's answer, and how many kernels were loaded instead of compiled."""
    value, hits = _run(package, code, **more).stdout.split()
    return np.float32(value), int(hits)


def _in_the_tree(package: Path) -> tuple[Path, dict[str, str]]:
    return package / "__pycache__", {}


def _where_the_variable_says(package: Path) -> tuple[Path, dict[str, str]]:
    folder = package.parent / "kernels"
    return folder, {"NUMBA_CACHE_DIR": str(folder)}


def _in_the_cache_of_the_user(package: Path) -> tuple[Path, dict[str, str]]:
    (package / "__pycache__").touch()  # a folder that nobody, not even root, can write
    home = package.parent / "home"
    return home, {"HOME": str(home), "XDG_CACHE_HOME": str(home)}


Place = Callable[[Path], tuple[Path, dict[str, str]]]
PLACES = (_in_the_tree, _where_the_variable_says, _in_the_cache_of_the_user)


@pytest.mark.parametrize("place", PLACES)
def test_edits_of_a_callee_and_of_a_constant_in_other_files_change_the_answer(
    tmp_path: Path, place: Place
) -> None:
    package = _tree(tmp_path)
    folder, environment = place(package)
    assert _answer(package, **environment) == (NOISE, 0)
    files = {path.name for path in folder.rglob("*.nb[ic]")}
    assert len(files) == 4  # index and code of the kernel and of the one that it calls
    _louder(package)
    assert _answer(package, **environment) == (np.float32(10) * NOISE, 0)
    after = {path.name for path in folder.rglob("*.nb[ic]")}
    assert len(after) == 4  # what is old does not pile up
    assert not files & after  # nor can an old file be taken for a new one
    _edit(package / "gain.py", "1.0", "2.0")
    assert _answer(package, **environment) == (np.float32(20) * NOISE, 0)


def test_an_edit_of_a_file_that_a_kernel_does_not_import_leaves_its_code(tmp_path: Path) -> None:
    package = _tree(tmp_path)
    (package / "report.py").write_text("WIDTH = 80\n", encoding="utf-8")
    assert _answer(package) == (NOISE, 0)
    _edit(package / "report.py", "80", "132")
    assert _answer(package) == (NOISE, 1)


def test_sources_edited_under_a_running_process_neither_use_nor_spoil_the_cache(
    tmp_path: Path,
) -> None:
    """A notebook that reloads modules after an edit."""
    package = _tree(tmp_path)
    assert _answer(package) == (NOISE, 0)
    reload = (
        "import importlib, pathlib; from cimsim import gain, caller; caller.noise();"
        "pathlib.Path('cimsim/gain.py').write_text('GAIN = 4.0');"
        "[importlib.reload(m) for m in (gain, caller)];"
        "print(caller.noise(), len(caller.noise.stats.cache_hits))"
    )
    assert _answer(package, reload) == (np.float32(4) * NOISE, 0)
    (package / "gain.py").write_text("GAIN = 1.0\n", encoding="utf-8")
    assert _answer(package) == (NOISE, 1)


@pytest.mark.parametrize(("kind", "damage"), [("nbi", b""), ("nbc", b"\x80\x04\x95 no pickle")])
def test_damaged_files_are_compiled_anew(tmp_path: Path, kind: str, damage: bytes) -> None:
    package = _tree(tmp_path)
    assert _answer(package) == (NOISE, 0)
    files = list(package.rglob(f"*.{kind}"))
    for path in files:
        path.write_bytes(damage)
    assert _answer(package) == (NOISE, 0)
    assert all(path.read_bytes() != damage for path in files)


def test_without_a_folder_to_write_kernels_run_and_one_warning_says_so(tmp_path: Path) -> None:
    package = _tree(tmp_path)
    (package / "__pycache__").touch()
    found = _run(package, HOME=os.devnull, XDG_CACHE_HOME=os.devnull)
    assert np.float32(found.stdout.split()[0]) == NOISE
    assert found.stderr.count("compiled kernels cannot be kept on disk") == 1


@pytest.mark.parametrize("folder", [0o755, 0o555, 0o000], ids=oct)
def test_kernels_that_another_user_keeps_to_himself_are_compiled(
    tmp_path: Path, folder: int
) -> None:
    """An installation by root under umask 077, used by somebody else."""
    package = _tree(tmp_path)
    assert _answer(package) == (NOISE, 0)
    kept = package / "__pycache__"
    for path in kept.iterdir():
        path.chmod(0o000)
    kept.chmod(folder)
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    nobody = _run(package, HOME=os.devnull, XDG_CACHE_HOME=os.devnull)
    assert np.float32(nobody.stdout.split()[0]) == NOISE
    warned = nobody.stderr.count("compiled kernels cannot be kept on disk")
    assert warned == int(folder != 0o755)
    assert _answer(package, **home)[0] == NOISE
    assert _answer(package, **home) == (NOISE, 1)
    kept.chmod(0o755)


def test_every_kernel_of_the_packages_is_cached_under_the_sources_and_not_by_numba() -> None:
    kernels = 0
    for package in (cimsim, moe_mapping, romer):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if "njit" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.keyword) and node.arg == "cache":
                    pytest.fail(f"{path}:{node.value.lineno}: Numba's own cache")
                if isinstance(node, ast.FunctionDef):
                    names = [ast.unparse(d).partition("(")[0] for d in node.decorator_list]
                    jitted = "njit" in names
                    kernels += jitted
                    assert not jitted or names == ["cached", "njit"], f"{path}:{node.lineno}"
    assert kernels > 40


def test_a_kernel_is_missing_until_it_is_compiled(tmp_path: Path) -> None:
    package = _tree(tmp_path)
    code = (
        "from cimsim.caller import noise; from cimsim.kernel_cache import is_missing;"
        "before = is_missing(noise); noise(); print(int(before), int(is_missing(noise)))"
    )
    assert _run(package, code).stdout.split() == ["1", "0"]
    (package / "caller.py").write_text(CALLER + "# edited\n", encoding="utf-8")
    assert _run(package, code).stdout.split() == ["1", "0"]
