"""Whole weights are read back on a line: its slope and intercept are knobs of eFlash cells."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.mac.cells import cell_tables
from cimsim.mac.devices import device_model
from cimsim.mac.moments import level_moments, weight_moments
from tests.mac.helpers import keys_of, make_tile, normal, program


def test_mean_read_back_of_eflash_scales_with_the_weight_format() -> None:
    """At the same full scale a LSB of 4 bits is 16 of 8 bits; 80 C raises sigma alone."""
    given = {"kind": "eflash", "mean_lsb": 0.4, "gain": 0.9}
    weights = np.array([-1.0, 0.0, 1.0])
    for profile in ("25c", "80c_assumed"):
        device = make_tile(device=given | {"profile": profile}).device
        for bits, top, mean in ((8, 127, 0.4), (4, 7, 0.4 / 16), (1, 1, 0.4 / 128)):
            found = device_model(device, bits).weight_shift_lsb(weights)
            np.testing.assert_allclose(found, -0.1 * top * weights + mean)


@pytest.mark.parametrize("bits", [8, 1])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
def test_read_back_of_a_weight_is_its_line_in_every_encoding(
    encoding: str, subtract: str, bits: int
) -> None:
    """The line is that of the signed weight, also where columns are stored as complements."""
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 48, 16) + np.float32(0.7), normal(rng, 32, 48)
    mean, gain = 0.7, 0.75
    flash = {"kind": "eflash", "cell_bits": bits, "sigma_lsb": 0.0, "mean_lsb": mean, "gain": gain}
    fine = {"kind": "fixed", "levels": 1e4 / 2 ** (8 - bits)}
    tile = make_tile(
        weight={"bits": bits, "encoding": encoding},
        device=flash,
        pe={"subtract": subtract},
        adc={"kind": "isaac", "bits": 16, "range": fine},
    )
    programmed = program(weight, tile, x)
    if encoding == "isaac":
        assert programmed.encoded.flip.any()
    found = programmed.multiply(x, keys_of(32), read_seed=0).astype(np.float64)
    scale = np.abs(x).max(axis=1, keepdims=True) / 127
    q = np.rint(x / scale)
    exact = gain * (q @ programmed.encoded.wq)
    shift = np.broadcast_to((q.sum(axis=1) * mean * 2.0 ** (bits - 1) / 128)[:, None], exact.shape)
    rest = found / scale / programmed.encoded.scale - exact - shift
    assert np.sqrt(np.mean(rest**2)) < 0.15 * np.sqrt(np.mean(shift**2))  # rounding remains


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_variance_of_a_whole_weight_knows_that_stuck_cells_take_no_mean_error(side: float) -> None:
    """Against cells that are drawn: level or either end, and the line where they work."""
    device = {"kind": "eflash", "cell_bits": 8, "mean_lsb": 9.0, "gain": 0.6, "sigma_lsb": 4.0}
    tile = make_tile(
        weight={"encoding": "offset"}, device=device | {"stuck_low": 0.2, "stuck_high": 0.1}
    )
    tables = cell_tables(tile, 1, 0.0)
    wq = np.array([[-100, 0, 3, 100]])
    level = np.where(side > 0, wq + 128, 127 - wq)
    held, spread = level_moments(tables)
    mean, variance = weight_moments(tables, held, wq, level, np.full(wq.shape, side))
    rng = np.random.default_rng(0)
    u, z = rng.random((1_000_000, 4)), rng.standard_normal((1_000_000, 4))
    works = u >= 0.3
    cell = np.where(works, level, np.where(u < 0.2, 0, 255))
    found = side * cell + works * (0.6 * wq + 9.0 - wq + 4.0 * z)
    np.testing.assert_allclose(found.mean(0), (side * held[level] + mean)[0], atol=0.5)
    np.testing.assert_allclose(found.var(0), (spread[level] + variance)[0], rtol=0.01)
