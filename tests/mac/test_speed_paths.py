"""Fast paths change time and memory only; the benchmark reports what it promises."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cimsim.bench.mac import run_mac_bench
from cimsim.errors import CimsimError
from cimsim.mac import Mode, products
from cimsim.mac.vnni import BLOCK, TILE, has_dot_product, multiply_packed, pack
from tests.mac.helpers import keys_of, make_tile, normal, program

TILES: list[dict[str, Any]] = [
    {},
    {"weight": {"encoding": "isaac"}, "crossbar": {"rows_active": 5}},
    {"pe": {"accumulate_cycles": True}, "input": {"signed": "shift"}},
    {"dac": {"bits": 7}, "input": {"signed": "two_phase"}},
    {"device": {"kind": "pcm", "read_noise": {"sigma": 0.05, "scaling": "proportional"}}},
    {"device": {"kind": "pcm", "cell_bits": 7, "read_noise": {"sigma": 0.05, "scaling": "sqrt"}},
     "dac": {"bits": 4}, "input": {"signed": "two_phase"}},
    {"device": {"kind": "pcm", "read_noise": {"sigma": 0.05, "scaling": "sqrt"}},
     "dac": {"bits": 8}, "input": {"signed": "shift"}},
]  # fmt: skip


@pytest.mark.parametrize("sections", TILES, ids=str)
def test_blas_and_packed_products_give_the_same_bits(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 131, 37), normal(rng, 13, 131)
    tile = make_tile(**sections)
    packed = program(weight, tile).multiply(x, keys_of(13), read_seed=0)
    monkeypatch.setattr(products, "has_dot_product", lambda: False)
    plain = program(weight, tile)
    assert plain.products.packed is None
    np.testing.assert_array_equal(plain.multiply(x, keys_of(13), read_seed=0), packed)


@pytest.mark.skipif(not has_dot_product(), reason="this processor has no 16-bit dot product")
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 65), (12, 256, 130)])
def test_packed_product_is_exact(shape: tuple[int, int, int]) -> None:
    planes, rows, columns = shape
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**15) + 1, 2**15, (rows, columns)).astype(np.float32)
    codes = np.zeros((-(-planes // TILE) * TILE, rows + 2), dtype=np.int16)
    codes[:planes, :rows] = rng.integers(0, 2, (planes, rows))
    packed = pack(values)
    sums = np.empty((codes.shape[0], packed.shape[0] * BLOCK), dtype=np.float32)
    multiply_packed(codes, 0, packed.shape[1], packed, sums)
    exact = codes[:, :rows].astype(np.int64) @ values.astype(np.int64)
    np.testing.assert_array_equal(sums[:planes, :columns], exact[:planes])
    assert not sums[:planes, columns:].any()


@pytest.mark.parametrize("scaling", ["constant", "sqrt", "proportional"])
def test_a_matrix_takes_less_than_three_times_its_conductances(scaling: str) -> None:
    rng = np.random.default_rng(0)
    tile = make_tile(
        crossbar={"rows": 256, "cols": 256},
        device={"kind": "pcm", "cell_bits": 2, "read_noise": {"sigma": 0.01, "scaling": scaling}},
    )
    programmed = program(normal(rng, 512, 256), tile)
    cells = programmed.cells
    held = cells.values.nbytes + programmed.encoded.wq.nbytes
    held += 0 if cells.squares is None else cells.squares.nbytes
    for exact in (programmed.products, programmed.conversion.squares):
        held += sum(p.nbytes for p in exact.packed or []) if exact is not None else 0
    assert held < 3 * 4 * cells.values.size


@pytest.mark.parametrize("mode", ["folded", "detailed"])
def test_a_matrix_is_freed_with_its_last_reference(mode: Mode) -> None:
    rng = np.random.default_rng(0)
    cell = {"kind": "gaussian", "sigma": 2.2, "sigma_unit": "weight_lsb", "cell_bits": 7}
    tile = make_tile(weight={"encoding": "differential"}, device=cell)
    programmed = program(normal(rng, 64, 32), tile)
    programmed.multiply(normal(rng, 5, 64), keys_of(5), read_seed=0, mode=mode)
    assert mode == "detailed" or programmed.folds
    gone = weakref.ref(programmed)
    gc.disable()  # a cycle would wait for the collector, thousands of matrices long
    try:
        del programmed
        assert gone() is None
    finally:
        gc.enable()


def test_benchmark_reports_ratios_and_checks_itself_against_the_twin() -> None:
    report = run_mac_bench(size=128, batch=8, repetitions=2)
    for mode in ("simple", "detailed", "detailed_read_noise", "second_product"):
        figures = report[mode]
        assert figures["bit_equal_to_twin"]
        assert figures["ratio_min"] <= figures["ratio"] <= figures["ratio_max"]
        assert figures["ratio_expanded"] * figures["expansion"] == pytest.approx(figures["ratio"])
        assert {"products", "conversion", "rest"} <= set(figures["stages_milliseconds"])
        assert ("normals" in figures["stages_milliseconds"]) == (mode != "detailed")
        assert figures["limits"]["products_peak_gmac_per_s"] > 0.0
    assert report["detailed"]["expansion"] == 32
    assert report["batch1"]["ratio_per_vector"] > 0.0
    assert 0.4 < report["inputs"]["bit_density"] < 0.6


def test_benchmark_refuses_modes_it_does_not_know() -> None:
    with pytest.raises(CimsimError, match="mode"):
        run_mac_bench(modes=("fast",))
    with pytest.raises(CimsimError, match="at least one"):
        run_mac_bench(repetitions=0)


@pytest.mark.skipif(os.environ.get("CIMSIM_FULL_TESTS") != "1", reason="compiles for seconds")
def test_a_new_installation_compiles_the_tile_within_thirty_seconds(tmp_path: Path) -> None:
    """And later processes load what was compiled. Processor seconds: a machine may be busy."""
    code = (
        "import time; from cimsim.bench.mac import compile_all; start = time.process_time(); "
        "compile_all(); print(time.process_time() - start)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def seconds() -> float:
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(found.stdout)

    assert seconds() < 30.0
    assert seconds() < 3.0
