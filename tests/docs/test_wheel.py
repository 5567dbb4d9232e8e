"""A wheel holds all that runs need, and works from any folder without the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import cimsim

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "build"),
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(out),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    (found,) = out.glob("*.whl")
    return found


def test_wheel_holds_packages_checkpoints_texts_and_chips(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in ("cimsim", "moe_mapping", "romer"):
        assert f"{package}/__main__.py" in names
    for model in ("olmoe-tiny", "qwen-moe-tiny", "deepseek-moe-tiny"):
        for file in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
            assert f"cimsim/zoo/{model}/{file}" in names
    assert "cimsim/zoo/text/heldout.txt.xz" in names
    assert "cimsim/zoo/text/calibration.txt.xz" in names
    source = (ROOT / "arch_configs").rglob("*.yaml")
    chips = {f"cimsim/_arch_configs/{p.relative_to(ROOT / 'arch_configs')}" for p in source}
    assert chips <= names
    assert not [n for n in names if n.startswith("tests/") or "__pycache__" in n]


def test_installed_wheel_finds_chips_and_models_from_another_folder(
    wheel: Path, tmp_path: Path
) -> None:
    target, elsewhere = tmp_path / "installed", tmp_path / "else where"
    elsewhere.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--target", str(target), str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-m", "cimsim", "validate", "isaac"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(str(target / "cimsim" / "_arch_configs" / "isaac.yaml: ok"))


def test_the_version_of_the_package_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cimsim.__version__ == project["version"]
