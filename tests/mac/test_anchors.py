"""Figures measured on silicon that concern accuracy, and what of them the tile reproduces.

Chip-measured read-back of programmed int8 weights of a 40 nm eFlash SoC (Bai et al., IEEE TCAD
2024), by layer, and the error of one layer's outputs. Mean errors up to 0.26 LSB and slopes down
to 0.98, which differ from layer to layer without a pattern, are not modelled: the tile's errors
have no bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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


def _flash(sigma_lsb: float | None = None) -> dict[str, Any]:
    device: dict[str, Any] = {"kind": "eflash", "cell_bits": 8}
    return device if sigma_lsb is None else device | {"sigma_lsb": sigma_lsb}


def _programmed(rms: float, device: dict[str, Any]) -> ProgrammedMatrix:
    """Program normal weights of some LSB rms; one weight of 127 sets the scale."""
    weight = np.clip(normal(np.random.default_rng(0), 256, 128) * rms, -127, 127)
    weight[0, 0] = 127.0
    return program(weight, make_tile(crossbar={"rows": 256, "cols": 512}, device=device))


@pytest.mark.parametrize("layer", LAYERS)
def test_read_back_of_a_layer_errs_as_measured(layer: int) -> None:
    """The spread is the layer's own; the cosine follows where weights are as large as there."""
    sigma, mean, slope, intercept, cosine = LAYERS[layer]
    rms = sigma / np.sqrt(1 / cosine**2 - 1)  # 16 to 30 LSB: what the two figures imply
    programmed = _programmed(rms, _flash(sigma))
    read = programmed.cells.values.astype(np.float64) * programmed.cells.grid
    wanted = programmed.encoded.wq.astype(np.float64)
    found_slope, found_intercept = np.polyfit(wanted.ravel(), read.ravel(), 1)
    assert (read - wanted).std(axis=0).mean() == pytest.approx(sigma, rel=0.02)
    by_column = (read * wanted).sum(0) / np.linalg.norm(read, axis=0)
    by_column = by_column / np.linalg.norm(wanted, axis=0)
    assert by_column.mean() == pytest.approx(cosine, abs=6e-4)
    assert abs((read - wanted).mean() - mean) < 0.3
    assert abs(found_slope - slope) < 0.025
    assert abs(found_intercept - intercept) < 0.3


def test_default_profile_lies_within_the_measured_layers() -> None:
    programmed = _programmed(22.0, _flash())
    read = programmed.cells.values.astype(np.float64) * programmed.cells.grid
    error = read - programmed.encoded.wq
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
        device=_flash(),
        adc={"kind": "isaac", "bits": 12, "range": {"kind": "percentile", "percentile": 100}},
    )
    exact = ideal_integer(weight, tile).multiply(x, keys_of(400)).astype(np.float64)
    found = program(weight, tile, x).multiply(x, keys_of(400), read_seed=0).astype(np.float64)
    cosines = (found * exact).sum(0) / np.linalg.norm(found, axis=0)
    cosines = cosines / np.linalg.norm(exact, axis=0)
    assert cosines.mean() == pytest.approx(0.995, abs=1.5e-3)
    unit = np.sqrt(np.mean(exact**2)) / 19.8
    assert ((found - exact) / unit).std() == pytest.approx(1.98, rel=0.1)
