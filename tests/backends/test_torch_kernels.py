"""The Triton kernels against their plain twins and the Numba tile, on a CUDA device.

Without a device Triton's interpreter runs the same kernels, slowly: TRITON_INTERPRET=1.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from cimsim.backends.torch import NoisePool, TorchTile
from cimsim.errors import CimsimError
from cimsim.workload.program import TokenKeys
from tests.backends.helpers import KERNEL_TILES, tokens_of
from tests.mac.helpers import make_tile, normal, program

pytest.importorskip("triton")
from cimsim.backends.torch.fused import Block, FusedTile

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
BLOCK = Block(tokens=16, outputs=64, native=False) if INTERPRETED else None
runs = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="no CUDA device: make test-gpu"
)


def _case(name: str) -> tuple[object, np.ndarray, TokenKeys]:
    rng = np.random.default_rng(0)
    n_in, n_out, n = (200, 64, 5) if INTERPRETED else (600, 192, 77)
    programmed = program(normal(rng, n_in, n_out), make_tile(**KERNEL_TILES[name]),
                         normal(rng, 40, n_in))  # fmt: skip
    keys = TokenKeys(rng.integers(0, 50, n), rng.integers(0, 4000, n))
    return programmed, normal(rng, n, n_in), keys


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("name", list(KERNEL_TILES))
def test_exact_codes_and_outputs_are_those_of_the_numba_tile(name: str) -> None:
    programmed, x, keys = _case(name)
    tile = FusedTile(programmed, device=DEVICE, block=BLOCK)
    inputs, tokens = torch.from_numpy(x).to(DEVICE), tokens_of(keys, DEVICE)
    found = tile.codes(inputs, tokens, read_seed=5, replica=1).cpu().numpy()
    assert np.array_equal(found, programmed.codes(x, keys, read_seed=5, replica=1))
    out = tile.multiply(inputs, tokens, read_seed=5, replica=1).cpu().numpy()
    assert np.array_equal(out, programmed.multiply(x, keys, read_seed=5, replica=1))


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("once", [False, True], ids=["conversion", "output"])
@pytest.mark.parametrize("name", list(KERNEL_TILES))
def test_fast_outputs_are_those_of_the_plain_twin(name: str, once: bool) -> None:
    programmed, x, keys = _case(name)
    draws = programmed.conversion.has_fresh_noise and not once
    pool = NoisePool.draw(1, DEVICE, 14) if draws else None
    noise = "output" if once else "conversion"
    fused = FusedTile(programmed, device=DEVICE, precision="fast", pool=pool, read_noise=noise,
                      block=BLOCK)  # fmt: skip
    plain = TorchTile(programmed, device=DEVICE, precision="fast", pool=pool, read_noise=noise)
    inputs, tokens = torch.from_numpy(x).to(DEVICE), tokens_of(keys, DEVICE)
    ours = fused.multiply(inputs, tokens, read_seed=5)
    theirs = plain.multiply(inputs, tokens, read_seed=5)
    # The same draws and cells; a sum on the border of two codes may round to either.
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3


@runs
@pytest.mark.gpu
def test_what_the_kernel_does_not_do_is_refused_by_name() -> None:
    rng = np.random.default_rng(1)
    weight = normal(rng, 96, 64)
    for sections, key in (
        ({"weight": {"encoding": "isaac"}}, "tile.weight.encoding"),
        ({"input": {"bits": 1}}, "tile.input.bits"),
        ({"device": {"kind": "pcm", "age_s": 60.0, "drift_compensation": "global"},
          "weight": {"encoding": "differential"}}, "tile.device.drift_compensation"),
    ):  # fmt: skip
        with pytest.raises(CimsimError, match="use the plain TorchTile") as refused:
            FusedTile(program(weight, make_tile(**sections)), device=DEVICE, block=BLOCK)
        assert refused.value.key == key


def test_the_kernel_is_refused_without_a_device() -> None:
    programmed = program(normal(np.random.default_rng(1), 96, 64),
                         make_tile(**KERNEL_TILES["offset"]))  # fmt: skip
    with pytest.raises(CimsimError, match="products on this device"):
        FusedTile(programmed, device="cpu")
