"""The processor does not matter: every table of a run has the same bytes on another one.

Libraries choose code by the processor: OpenBLAS a kernel, NumPy vector widths, the C library
fused multiply-adds. Their own switches stand in for other machines.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_model import SMALL

from tests import small_shape

# Drifting cells, errors of whole weights, slices; converters with errors; all of them calibrated.
CHIPS = ("hermes", "eflash_40nm", "raella")
NOISY = ("tile.adc.offset_lsb=0.2", "run.decode_batch=[1]")


def _wide_features() -> str:
    """What NumPy found on this machine beyond its baseline, as it wants it listed."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return " ".join(found)


OTHERS = {
    "blas of 2013": {"OPENBLAS_CORETYPE": "Haswell"},
    "blas of 2008": {"OPENBLAS_CORETYPE": "Nehalem"},
    "blas of 2017": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "narrow vectors": {"NPY_DISABLE_CPU_FEATURES": _wide_features()},
    "no fused operations": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"},
    "plain torch": {"ATEN_CPU_CAPABILITY": "default"},
    "generic code": {"NUMBA_CPU_NAME": "generic"},
}
# At once what does not need kernels compiled anew: an old machine; and a new one.
OLD = {k: v for name in ("blas of 2008", "narrow vectors", "no fused operations", "plain torch")
       for k, v in OTHERS[name].items()}  # fmt: skip


def _has(*features: str) -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and set(features) <= set(flags.read_text(encoding="ascii").split())


def _tables(model: Path, out: Path, processor: dict[str, str]) -> dict[str, str]:
    """Hashes of every CSV of a run."""
    settings = [part for knob in (*SMALL, *NOISY) for part in ("--set", knob)]
    command = ("run", *CHIPS, "--model", str(model), *settings, "--jobs", "1", "--out", str(out))
    done = subprocess.run(
        [sys.executable, small_shape.__file__, *command],
        env={**os.environ, **processor},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*.csv"))
    }


@pytest.fixture(scope="module")
def here(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Tables of a run on this machine as it is."""
    return _tables(tiny_model, tmp_path_factory.mktemp("here") / "run", {})


def test_an_old_machine_gives_the_same_bytes(
    here: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    assert "results.csv" in here
    assert _tables(tiny_model, tmp_path / "run", OLD) == here


@pytest.mark.full
@pytest.mark.parametrize("name", OTHERS)
def test_every_library_gives_the_same_bytes_on_another_processor(
    name: str, here: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    if name == "blas of 2017" and not _has("avx512f", "avx512dq", "avx512bw", "avx512vl"):
        pytest.skip("this machine does not run it")
    assert _tables(tiny_model, tmp_path / "run", OTHERS[name]) == here
