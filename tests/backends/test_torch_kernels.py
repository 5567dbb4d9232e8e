"""The Triton kernels against their plain twins and the Numba tile, on a CUDA device.

Without a device Triton's interpreter runs the same kernels, slowly: TRITON_INTERPRET=1 (that of
Triton 3.6 needs a NumPy before 2.4).
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from cimsim.backends.torch import NoisePool, TorchTile
from cimsim.backends.torch.device_cells import (
    DeviceCells,
    levels_of_cells,
    writes_on_device,
)
from cimsim.backends.torch.folded import FoldedTile
from cimsim.backends.torch.held import hold
from cimsim.backends.torch.order import Order
from cimsim.backends.torch.packed import cell_bytes, row_places
from cimsim.backends.torch.programming import Writer, integers_of, levels_of, moments_of_weights
from cimsim.backends.torch.unit_columns import units_of_weights
from cimsim.errors import CimsimError
from cimsim.mac import Writing, calibrate_range
from cimsim.model import GivenWeight
from cimsim.workload.matrix import MatrixId, TokenKeys
from tests.backends.helpers import KERNEL_TILES, tokens_of
from tests.backends.test_torch_programming import WRITTEN
from tests.mac.helpers import FIRST, make_tile, normal, program

pytest.importorskip("triton")
from cimsim.backends.torch.direct import write_bytes
from cimsim.backends.torch.fused import Block, FusedTile
from cimsim.backends.torch.fused_folded import FusedFolded
from cimsim.backends.torch.written import DeviceWriter

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
BLOCK = Block(tokens=16, outputs=64, native=False) if INTERPRETED else None
runs = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="no CUDA device: make test-gpu"
)

# The kernels refuse converters of a measured curve by name.
STRAIGHT = [name for name in KERNEL_TILES if name != "measured"]


def _case(name: str) -> tuple[object, np.ndarray, TokenKeys]:
    rng = np.random.default_rng(0)
    n_in, n_out, n = (200, 64, 5) if INTERPRETED else (600, 192, 77)
    programmed = program(normal(rng, n_in, n_out), make_tile(**KERNEL_TILES[name]),
                         normal(rng, 40, n_in))  # fmt: skip
    keys = TokenKeys(rng.integers(0, 50, n), rng.integers(0, 4000, n))
    return programmed, normal(rng, n, n_in), keys


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("name", STRAIGHT)
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
@pytest.mark.parametrize("name", STRAIGHT)
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
    assert float((ours - theirs).norm() / theirs.norm()) < 5e-3


@runs
@pytest.mark.gpu
def test_what_the_kernel_does_not_do_is_refused_by_name() -> None:
    rng = np.random.default_rng(1)
    weight = normal(rng, 96, 64)
    for sections, key in (
        ({"weight": {"encoding": "isaac"}, "adc": {"kind": "isaac", "bits": 8, "noise_lsb": 0.2}},
         "tile.weight.encoding"),
        ({"input": {"bits": 1}}, "tile.input.bits"),
        ({"device": {"kind": "pcm", "age_s": 60.0, "drift_compensation": "global"},
          "weight": {"encoding": "differential"}}, "tile.device.drift_compensation"),
    ):  # fmt: skip
        with pytest.raises(CimsimError, match="use the plain TorchTile") as refused:
            FusedTile(program(weight, make_tile(**sections)), device=DEVICE, block=BLOCK)
        assert refused.value.key == key


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("name", ["offset", "charge", "pairs_apart", "isaac", "isaac_errors"])
def test_matrices_written_as_bytes_are_those_of_the_plain_tile(name: str) -> None:
    rng = np.random.default_rng(6)
    tile = make_tile(**KERNEL_TILES[name])
    weight, x = normal(rng, 200, 64), torch.from_numpy(normal(rng, 9, 200)).to(DEVICE)
    found = calibrate_range(weight, FIRST.matrix, tile, normal(rng, 40, 200))
    writer = writes_on_device(tile, FIRST, 200, 64)
    assert writer is not None
    stored = torch.from_numpy(weight.T.copy()).to(DEVICE)
    writer.shared[stored.device] = DeviceWriter(writer, DEVICE, native=not INTERPRETED)
    written = write_bytes([Order(GivenWeight(weight), writer, found, stored.device)])[0]
    cells = DeviceCells.write(stored.cpu(), writer, found, {})
    assert float(written.mean_fraction()) == pytest.approx(cells.mean_fraction, rel=3e-3)
    levels = levels_of_cells(stored.cpu(), writer)[1].to(DEVICE)
    values = torch.round(levels / written.held.grid).clamp(-32639, 32639)
    held = replace(written.held, values=values)
    assert torch.equal(written.weights, cell_bytes(units_of_weights(held), None))
    pool = NoisePool.draw(1, DEVICE, 14) if held.draws else None
    fused = FusedTile(written.held, precision="fast", pool=pool, block=BLOCK,
                      cells=(written.weights, written.units))  # fmt: skip
    plain = TorchTile(held, precision="fast", pool=pool)
    assert int(fused.code_sum(x)) == int(plain.code_sum(x))
    tokens = (torch.arange(9, device=DEVICE), torch.arange(9, device=DEVICE))
    ours, theirs = (t.multiply(x, tokens, read_seed=1) for t in (fused, plain))
    assert float((ours - theirs).norm() / theirs.norm()) < 5e-3


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("scale", ["per_matrix", "per_column"])
@pytest.mark.parametrize("name", ["offset", "charge", "pairs_apart", "isaac", "isaac_errors"])
def test_matrices_written_together_are_those_written_alone(name: str, scale: str) -> None:
    rng = np.random.default_rng(9)
    sections = KERNEL_TILES[name]
    weight_section = {**sections["weight"], "scale": scale}
    tile, device = make_tile(**{**sections, "weight": weight_section}), torch.device(DEVICE)
    shared = None
    orders = []
    for expert in range(3):
        weight, matrix = normal(rng, 200, 64), MatrixId(1, "up", expert)
        writer = writes_on_device(tile, Writing(3, matrix), 200, 64)
        assert writer is not None
        shared = shared or DeviceWriter(writer, DEVICE, native=not INTERPRETED)
        writer.shared[device] = writer.shared[torch.device(DEVICE, 0)] = shared
        adc_range = calibrate_range(weight, matrix, tile, normal(rng, 40, 200))
        orders.append(Order(GivenWeight(weight), writer, adc_range, device))
    for order, together in zip(orders, write_bytes(orders), strict=True):
        alone = write_bytes([order])[0]
        assert torch.equal(together.weights, alone.weights)
        assert (together.units is None) == (alone.units is None) == (not name.startswith("isaac"))
        if together.units is not None and alone.units is not None:
            assert torch.equal(together.units, alone.units)
        for field in ("signs", "unit_coefficient", "coefficient", "shift_share", "column_scale"):
            ours, theirs = getattr(together.held, field), getattr(alone.held, field)
            assert (ours is None and theirs is None) or torch.equal(ours, theirs), field
        assert together.held.step_levels == alone.held.step_levels
        assert float(together.mean_fraction()) == pytest.approx(float(alone.mean_fraction()))


def test_the_kernel_is_refused_without_a_device() -> None:
    programmed = program(normal(np.random.default_rng(1), 96, 64),
                         make_tile(**KERNEL_TILES["offset"]))  # fmt: skip
    with pytest.raises(CimsimError, match="products on this device"):
        FusedTile(programmed, device="cpu")


def _writer(name: str, n_in: int, n_out: int) -> DeviceWriter:
    writer = Writer.of(make_tile(**WRITTEN[name]), FIRST, n_in, n_out)
    return DeviceWriter(writer, DEVICE, native=not INTERPRETED)


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("name", list(WRITTEN))
def test_written_cells_are_those_of_the_plain_twin_and_the_numba_tile(name: str) -> None:
    rng = np.random.default_rng(2)
    weight = normal(rng, 200, 40)
    device_writer = _writer(name, 200, 40)
    writer = Writer.of(make_tile(**WRITTEN[name]), FIRST, 200, 40)
    there = torch.from_numpy(weight.T.copy()).to(DEVICE)
    ours, theirs = device_writer.integers(there), integers_of(there, writer)
    assert torch.equal(ours.q, theirs.q)
    assert torch.equal(ours.scale, theirs.scale)
    assert torch.equal(device_writer.levels(ours), levels_of(theirs, writer))
    if writer.formats.units:
        assert ours.flip is not None and theirs.flip is not None
        assert torch.equal(ours.flip, theirs.flip)
        return  # the bytes of a whole matrix hold its unit columns beside them
    programmed = program(weight, make_tile(**WRITTEN[name]), normal(rng, 30, 200))
    held = hold(programmed, torch.device("cpu"))
    try:
        written = device_writer.write(there)
    except CimsimError as refused:
        assert "follows from their column sums" in str(refused)
    else:
        assert written.grid == held.grid
        expected = cell_bytes(held, None)
        assert torch.equal(written.bytes.cpu()[:, :, : expected.shape[2]], expected)


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("name", list(WRITTEN))
def test_fast_cells_have_the_law_of_exact_ones(name: str) -> None:
    rng = np.random.default_rng(3)
    n_out, n_in = (200, 256) if INTERPRETED else (1024, 1024)
    device_writer = _writer(name, n_in, n_out)
    writer = Writer.of(make_tile(**WRITTEN[name]), FIRST, n_in, n_out)
    if writer.formats.units:
        with pytest.raises(CimsimError, match="no complements"):
            device_writer.write_fast(torch.zeros(n_out, n_in, device=DEVICE))
        return
    weight = torch.from_numpy(normal(rng, n_out, n_in)).to(DEVICE)
    written, levels = (
        device_writer.write_fast(weight),
        levels_of(integers_of(weight, writer), writer),
    )
    places = row_places(writer.formats).to(DEVICE)
    other = written.bytes[..., places].float() * written.grid
    # Cells at the lowest level err upwards only, and a byte rounds small errors away.
    difference = (other - levels).double()
    spread = writer.tables.sigma.max() * writer.tables.to_levels + writer.tables.weight_sigma.max()
    assert abs(float(difference.mean())) < 0.05 * spread + written.grid / 8
    folded = (device_writer.fold(weight) - weight) / device_writer.scale(weight)[:, None]
    mean, sigma = moments_of_weights(writer)
    at = integers_of(weight, writer).q.long().cpu() + (mean.numel() - 1) // 2
    expected = float((sigma[at].square() + mean[at].square()).mean() + 1.0 / 12.0)
    assert abs(float(folded.square().mean()) / expected - 1.0) < 0.05


@runs
@pytest.mark.gpu
def test_one_token_has_what_it_has_in_a_batch() -> None:
    programmed, x, keys = _case("center_errors")
    pool = NoisePool.draw(1, DEVICE, 14)
    for precision, each in (("exact", None), ("fast", pool)):
        tile = FusedTile(programmed, device=DEVICE, precision=precision, pool=each, block=BLOCK)
        inputs, (sequence, position) = torch.from_numpy(x).to(DEVICE), tokens_of(keys, DEVICE)
        whole = tile.multiply(inputs, (sequence, position), read_seed=5)
        alone = tile.multiply(inputs[3:4], (sequence[3:4], position[3:4]), read_seed=5)
        assert torch.equal(alone[0], whole[3])


@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="bf16: make test-gpu")
@pytest.mark.gpu
@pytest.mark.parametrize("name", ["offset", "charge", "shift"])
def test_folded_products_have_the_law_of_the_plain_twin(name: str) -> None:
    programmed, x, _ = _case(name)
    fused, plain = FusedFolded(programmed), FoldedTile(programmed, device=DEVICE)
    one = torch.from_numpy(x[:1]).to(DEVICE).expand(4000, -1).contiguous()
    position = torch.arange(4000, device=DEVICE)
    tokens = (torch.zeros_like(position), position)
    ours = fused.multiply(one, tokens, read_seed=5, dtype=torch.float32).double()
    theirs = plain.multiply(one, tokens, read_seed=5).double()
    # Means of 4,000 draws differ by their standard errors, and by weights rounded to bf16.
    between = float((ours.mean(0) - theirs.mean(0)).norm())
    error = float(((ours.var(0) + theirs.var(0)) / 4000).sum().sqrt())
    assert between < 1.5 * error + 0.01 * float(theirs.mean(0).norm())
    assert abs(float(ours.var(0).mean() / theirs.var(0).mean()) - 1.0) < 0.02
    alone = fused.multiply(one[7:8], (tokens[0][7:8], tokens[1][7:8]), read_seed=5,
                           dtype=torch.float32)  # fmt: skip
    assert torch.equal(alone[0].double(), ours[7])
