"""Figures measured on silicon that concern accuracy, and what of them the tile reproduces.

Chip-measured read-back of programmed int8 weights of a 40 nm eFlash SoC (Bai et al., IEEE TCAD
2024), by layer, and the error of one layer's outputs. Mean errors up to 0.26 LSB and slopes down
to 0.98 differ from layer to layer without a pattern: they are knobs of a chip, not of a layer, and
the default profile has neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from cimsim.mac import ProgrammedMatrix, ideal_integer
from tests.mac.helpers import keys_of, make_tile, normal, program

# layer: std of the error in LSB, its mean, slope, intercept, cosine
LAYERS = {
    0: (3.02, -0.05, 0.98, 0.05, 0.9902),
    1: (1.77, 0.26, 1.00, 0.26, 0.9958),
    2: (1.74, 0.15, 0.99, 0.15, 0.9943),
    3: (2.44, -0.05, 1.00, -0.04, 0.9966),
    4: (2.22, 0.07, 1.00, 0.11, 0.9955),
}


# Unrounded slope and mean weight in LSB that mean error and intercept of a layer mean:
# their difference is (slope - 1) E(W). Of layer 4 it is -0.04 at a slope that rounds to 1.00,
# which takes a mean weight of at least 6 LSB. Of layer 3 it is -0.01, within rounding of 0.
LINES = {0: (0.98, 5.0), 1: (1.0, 0.0), 2: (0.99, 0.0), 3: (1.0, 0.0), 4: (0.996, 10.0)}


def _programmed(
    rms: float, device: dict[str, Any], *, mean: float = 0.0, rows: int = 256
) -> ProgrammedMatrix:
    """Program normal weights of some LSB rms and mean; one weight of 127 sets the scale."""
    spread = np.sqrt(rms**2 - mean**2)
    weight = np.clip(normal(np.random.default_rng(0), rows, rows // 2) * spread + mean, -127, 127)
    weight[0, 0] = 127.0
    tile = make_tile(
        crossbar={"rows": rows, "cols": 2 * rows},
        device={"kind": "eflash", "cell_bits": 8} | device,
    )
    return program(weight.astype(np.float32), tile)


def _read(programmed: ProgrammedMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Return weights as they are read back, and their targets, in LSB."""
    read = programmed.cells.values.astype(np.float64) * programmed.cells.grid
    return read, programmed.encoded.wq.astype(np.float64)


def _rms_of_weights(spread: float, gain: float, mean: float, centre: float, cosine: float) -> float:
    """Return the rms of W at which the figures of a layer agree.

    Read-back is gain W + mean + sigma z, and its error has the variance spread^2 = sigma^2 +
    (1 - gain)^2 var W, so that with A = E(W^2)::

        cos^2 = (gain A + mean E(W))^2 / (A (gain^2 A + 2 gain mean E(W) + mean^2 + sigma^2))
    """

    def excess(rms: float) -> float:
        a = rms**2
        sigma2 = spread**2 - (1 - gain) ** 2 * (a - centre**2)
        power = gain**2 * a + 2 * gain * mean * centre + mean**2 + sigma2
        return float((gain * a + mean * centre) / np.sqrt(a * power) - cosine)

    return float(brentq(excess, max(1.0, abs(centre)), 60.0))


@pytest.mark.parametrize("layer", LAYERS)
def test_read_back_of_a_layer_errs_as_measured(layer: int) -> None:
    """Spread, mean, slope and intercept follow from the knobs within four sampling errors.

    The cosine is a matter of how large weights are, which is not published: every value below
    1 belongs to one rms of W, here 16 to 30 LSB. It is no check of its own, only of the formula.
    """
    spread, mean, slope, intercept, cosine = LAYERS[layer]
    gain, centre = LINES[layer]
    assert abs(gain - slope) < 0.005
    rms = _rms_of_weights(spread, gain, intercept, centre, cosine)
    assert 16.0 < rms < 30.0
    width = np.sqrt(rms**2 - centre**2)
    sigma = float(np.sqrt(spread**2 - (1 - gain) ** 2 * width**2))
    device = {"sigma_lsb": sigma, "mean_lsb": intercept, "gain": gain}
    read, wanted = _read(_programmed(rms, device, mean=centre, rows=1024))
    error = read - wanted
    one = 1 / np.sqrt(error.size)
    assert error.std(axis=0).mean() == pytest.approx(spread, rel=4 * one)
    assert error.mean() == pytest.approx(mean, abs=4 * spread * one + 0.01)  # both are rounded
    found_slope, found_intercept = np.polyfit(wanted.ravel(), read.ravel(), 1)
    assert found_slope == pytest.approx(gain, abs=4 * sigma / width * one)
    assert found_intercept == pytest.approx(intercept, abs=4 * sigma * rms / width * one)
    by_column = (read * wanted).sum(0) / np.linalg.norm(read, axis=0)
    by_column = by_column / np.linalg.norm(wanted, axis=0)
    assert by_column.mean() == pytest.approx(cosine, abs=1e-4)


def test_default_profile_lies_within_the_measured_layers() -> None:
    read, wanted = _read(_programmed(22.0, {}))
    error = read - wanted
    spreads = [figures[0] for figures in LAYERS.values()]
    assert min(spreads) < error.std() < max(spreads)
    assert error.std() == pytest.approx(np.mean(spreads), rel=0.03)
    assert abs(error.mean()) < 0.05


def test_one_layer_has_the_measured_error_and_column_cosine() -> None:
    """Measured: 1.98 LSB of int8 outputs, mean column cosine 0.995, weight errors included.

    Outputs are scaled so that their rms is 19.8 LSB, which the two figures imply; the errors
    of the weights alone then explain both.
    """
    rng = np.random.default_rng(1)
    weight = np.clip(normal(rng, 256, 128) * 22.0, -127, 127)
    weight[0, 0] = 127.0
    x = normal(rng, 400, 256)
    tile = make_tile(
        crossbar={"rows": 256, "cols": 512},
        input={"bits": 8, "signed": "two_phase"},
        dac={"bits": 7},
        pe={"accumulate_cycles": True},
        device={"kind": "eflash", "cell_bits": 8},
        adc={"kind": "isaac", "bits": 12, "range": {"kind": "percentile", "percentile": 100}},
    )
    exact = ideal_integer(weight, tile).multiply(x, keys_of(400)).astype(np.float64)
    found = program(weight, tile, x).multiply(x, keys_of(400), read_seed=0).astype(np.float64)
    cosines = (found * exact).sum(0) / np.linalg.norm(found, axis=0)
    cosines = cosines / np.linalg.norm(exact, axis=0)
    assert cosines.mean() == pytest.approx(0.995, abs=1.5e-3)
    unit = np.sqrt(np.mean(exact**2)) / 19.8
    assert ((found - exact) / unit).std() == pytest.approx(1.98, rel=0.1)
