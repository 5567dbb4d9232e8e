"""`TorchTile` against the Numba tile: every code and output bit, read noise included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.backends.torch import NoisePool, TorchTile
from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.normals import column_normals, normals_of_words, philox
from cimsim.backends.torch.packed import coarse
from cimsim.backends.torch.pool import STEPS_PER_SIGMA, pool_normals, run_starts
from cimsim.config import Tile
from cimsim.config.load import load_chip
from cimsim.errors import CimsimError
from cimsim.mac import ProgrammedMatrix
from cimsim.rng import normals_at, normals_of_bits, philox4x32
from cimsim.workload.matrix import TokenKeys
from tests.backends.helpers import KERNEL_TILES, KEYS, tokens_of
from tests.mac.helpers import make_tile, normal, program
from tests.mac.test_twin import tiles

CHIPS = sorted(Path("arch_configs").glob("*.yaml"))


def test_words_and_normals_are_those_of_the_product() -> None:
    rng = np.random.default_rng(0)
    counter = rng.integers(0, 1 << 32, (1000, 4), dtype=np.uint32)
    key = (0xDEADBEEF, 0x12345678)
    words = torch.stack(philox(tuple(torch.from_numpy(counter.astype(np.int64)).T), key), dim=1)
    assert np.array_equal(words.numpy().astype(np.uint32), philox4x32(counter, key))
    edges = np.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], dtype=np.uint32)
    bits = np.concatenate([edges, counter.ravel()])
    z = normals_of_words(torch.from_numpy(bits.astype(np.int64)))
    assert np.array_equal(z.numpy(), normals_of_bits(bits))


@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(0, 500))
@settings(max_examples=20)
def test_columns_have_the_normals_of_the_product(count: int, word: int, first: int) -> None:
    words = (torch.tensor([[3], [7]]), torch.tensor([word, 1]), torch.tensor([5]))
    drawn = column_normals(count, words, (1, 2**32 - 2), first=first)
    assert drawn.shape == (2, 2, count)
    for i, j, address in ((0, 0, (3, word, 5)), (1, 1, (7, 1, 5))):
        expected = normals_at(first + count, address, (1, 2**32 - 2))[first:]
        assert np.array_equal(drawn[i, j].numpy(), expected)


def _compare(programmed: ProgrammedMatrix, x: np.ndarray, keys: TokenKeys) -> None:
    torch_tile, tokens = TorchTile(programmed), tokens_of(keys)
    found = torch_tile.codes(torch.from_numpy(x), tokens, read_seed=5, replica=1).numpy()
    assert np.array_equal(found, programmed.codes(x, keys, read_seed=5, replica=1))
    out = torch_tile.multiply(torch.from_numpy(x), tokens, read_seed=5, replica=1).numpy()
    assert np.array_equal(out, programmed.multiply(x, keys, read_seed=5, replica=1))


@given(tiles(), st.integers(0, 2**31))
@settings(max_examples=60)
def test_every_tile_has_the_codes_of_the_numba_tile(tile: Tile, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_in, n_out = int(rng.integers(1, 50)), int(rng.integers(1, 80))
    programmed = program(normal(rng, n_in, n_out), tile, normal(rng, 30, n_in))
    _compare(programmed, normal(rng, 5, n_in), KEYS)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda path: path.stem)
def test_every_bundled_chip_has_the_codes_of_the_numba_tile(chip: Path) -> None:
    tile = load_chip(chip).tile
    if tile.crossbar.kind == "digital":
        pytest.skip("digital crossbars convert nothing")
    noisy = tile.model_copy(update={"adc": tile.adc.model_copy(update={"noise_lsb": 0.3})})
    rng = np.random.default_rng(1)
    weight, some, x = normal(rng, 300, 70), normal(rng, 30, 300), normal(rng, 5, 300)
    for each in (tile, noisy):
        _compare(program(weight, each, some), x, KEYS)


def test_a_product_does_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(2)
    x = torch.from_numpy(normal(rng, 5, 96))
    programmed = program(normal(rng, 96, 64), make_tile(**KERNEL_TILES["center_errors"]),
                         normal(rng, 30, 96))  # fmt: skip
    sequence, position = tokens_of(KEYS)
    pool = NoisePool.draw(1, "cpu", 14)
    for tile in (
        TorchTile(programmed), TorchTile(programmed, precision="fast", pool=pool),
        TorchTile(programmed, precision="fast", read_noise="output"),
    ):  # fmt: skip
        whole = tile.multiply(x, (sequence, position), read_seed=3)
        for row in (4, 1):
            alone = (sequence[row : row + 1], position[row : row + 1])
            assert torch.equal(tile.multiply(x[row : row + 1], alone, read_seed=3)[0], whole[row])


def test_fast_cells_are_bytes_on_the_finest_grid() -> None:
    rng = np.random.default_rng(3)
    for name, most in (("offset", 127), ("charge", 127 * 257)):
        held = TorchTile(program(normal(rng, 96, 64), make_tile(**KERNEL_TILES[name]),
                                 normal(rng, 30, 96))).held  # fmt: skip
        fast = coarse(held)
        assert most // 2 < float(fast.values.abs().max()) <= most or fast.grid == held.grid
        error = fast.values * fast.grid - held.values * held.grid
        assert float(error.abs().max()) <= fast.grid / 2
        assert fast.noise.slope * held.grid == held.noise.slope * fast.grid


def _noise_of(tile: TorchTile, x: torch.Tensor, seeds: int) -> torch.Tensor:
    """Outputs under fresh noise of many positions, [seeds, n_out]."""
    tokens = (torch.zeros(seeds, dtype=torch.int64), torch.arange(seeds))
    return tile.multiply(x.expand(seeds, -1), tokens, read_seed=9).double()


@pytest.mark.parametrize("name", ["offset_read", "charge", "center_errors"])
def test_fast_noise_has_the_law_of_exact_noise(name: str, scaled: Callable[[int], int]) -> None:
    rng = np.random.default_rng(4)
    programmed = program(normal(rng, 96, 64), make_tile(**KERNEL_TILES[name]),
                         normal(rng, 30, 96))  # fmt: skip
    x, seeds = torch.from_numpy(normal(rng, 1, 96)), scaled(20_000)
    pool = NoisePool.draw(1, "cpu", 18)
    exact = _noise_of(TorchTile(programmed), x, seeds)
    fast = _noise_of(TorchTile(programmed, precision="fast", pool=pool), x, seeds)
    ratio = float(fast.var(0).mean() / exact.var(0).mean())
    # A variance of 64 outputs over the seeds: relative error sqrt(2 / (64 seeds)) each.
    assert abs(ratio - 1.0) < 0.02 + 5.0 * (4.0 / (64 * seeds)) ** 0.5
    shift = (fast.mean(0) - exact.mean(0)) / exact.std(0)
    assert float(shift.square().mean()) < 0.05 + 2.0 / seeds  # rounding of cells to bytes


def test_a_matrix_as_wide_as_a_vocabulary_reads_the_pool_again_from_its_start() -> None:
    pool, key, tokens = NoisePool.draw(1, "cpu", 14), (3, 4), (torch.arange(2), torch.arange(2))
    wide = pool_normals(pool, 0, (1, 1), [160_000], tokens, key)
    start = run_starts(pool, 0, tokens, key)
    ring = pool.words[: 1 << 14]
    for output in (0, 16_383, 16_384, 151_935, 159_999):
        byte = (ring[(start + output) % (1 << 14)] & 255) - 128
        assert torch.equal(wide[:, 0, output], byte.float() / STEPS_PER_SIGMA)


def test_noise_once_an_output_is_right_without_clipping_and_not_with_it() -> None:
    rng = np.random.default_rng(5)
    weight, some = normal(rng, 96, 64), normal(rng, 30, 96)
    x = torch.from_numpy(normal(rng, 1, 96))
    found = {}
    for kind, adc_range in (
        ("wide", {"kind": "fixed", "levels": 400.0}), ("clips", {"kind": "fixed", "levels": 70.0}),
    ):  # fmt: skip
        sections = KERNEL_TILES["offset_read"] | {
            "adc": {"kind": "isaac", "bits": 8, "noise_lsb": 1.0, "range": adc_range}
        }
        programmed = program(weight, make_tile(**sections), some)
        each = _noise_of(TorchTile(programmed), x, 1000).var(0).mean()
        once = TorchTile(programmed, precision="fast", read_noise="output")
        found[kind] = float(_noise_of(once, x, 1000).var(0).mean() / each)
    # Noise of 1 code before rounding adds its 1/12 to every conversion; half of them clip at 70.
    assert 0.85 < found["wide"] < 1.02
    assert 1.2 < found["clips"] < 2.0


@pytest.mark.parametrize("name", list(KERNEL_TILES))
def test_folded_outputs_are_those_of_the_numba_tile(name: str) -> None:
    rng = np.random.default_rng(7)
    sections = KERNEL_TILES[name]
    programmed = program(normal(rng, 96, 64), make_tile(**sections), normal(rng, 30, 96))
    x = normal(rng, 5, 96)
    if not programmed.folds:
        with pytest.raises(CimsimError, match="clips or rounds too much"):
            FoldedTile(programmed)
        return
    found = FoldedTile(programmed).multiply(torch.from_numpy(x), tokens_of(KEYS), read_seed=5)
    expected = programmed.multiply(x, KEYS, read_seed=5, mode="folded")
    assert np.array_equal(found.numpy(), expected)


def test_choices_that_do_not_go_together_are_refused() -> None:
    rng = np.random.default_rng(6)
    noisy = program(normal(rng, 96, 64), make_tile(**KERNEL_TILES["offset_read"]))
    quiet = program(normal(rng, 96, 64), make_tile(**KERNEL_TILES["offset"]))
    pool = NoisePool.draw(1, "cpu", 14)
    with pytest.raises(CimsimError, match="exact read noise is drawn at every conversion"):
        TorchTile(noisy, read_noise="output")
    with pytest.raises(CimsimError, match="drawn from a pool"):
        TorchTile(noisy, precision="fast")
    for programmed, precision in ((quiet, "fast"), (noisy, "exact")):
        with pytest.raises(CimsimError, match="drawn from a pool"):
            TorchTile(programmed, precision=precision, pool=pool)
    with pytest.raises(CimsimError, match="2\\^14 to 2\\^28 words"):
        NoisePool.draw(1, "cpu", 5)
    x = torch.full((1, 96), float("nan"))
    with pytest.raises(CimsimError, match="not finite"):
        TorchTile(quiet).multiply(x, tokens_of(KEYS), read_seed=0)


def test_the_product_does_not_import_torch() -> None:
    code = "import sys, cimsim, cimsim.mac, cimsim.backends; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_the_bench_is_refused_without_a_device_in_one_sentence() -> None:
    command = [sys.executable, "-m", "cimsim", "bench", "torch"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "needs triton" in found.stderr or "no CUDA device" in found.stderr


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"input": {"bits": 8, "skip_zeros": True}}, "tile.input.skip_zeros"),
        (
            {
                "dac": {"kind": "pwm", "bits": 4, "recovery_bits": 1},
                "input": {"bits": 8, "signed": "two_phase"},
            },
            "tile.dac.recovery_bits",
        ),
        ({"adc": {"bits": 8, "search": "lsb_first"}}, "tile.adc.search"),
    ],
)
def test_conversions_that_data_decide_are_refused_by_name(
    sections: dict[str, Any], key: str
) -> None:
    rng = np.random.default_rng(0)
    programmed = program(normal(rng, 8, 4), make_tile(**sections))
    with pytest.raises(CimsimError, match="converts every column of every read once") as refused:
        TorchTile(programmed)
    assert refused.value.key == key
