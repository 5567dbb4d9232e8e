"""A battery for tiles: what every combination of formats, cells and converters must keep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.config.converter import STRAIGHT, MeasuredAdc
from cimsim.config.device import IdealDevice
from cimsim.errors import CimsimError
from cimsim.mac import (
    MacStatistics,
    ProgrammedMatrix,
    Writing,
    calibrate_range,
    ideal_integer,
    program_matrix,
)
from cimsim.testing import slow_product
from cimsim.testing.battery import run_checks
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["check_tile"]

_MATRIX = MatrixId(0, "checked")
_TOKENS = 9


def check_tile(tile: Tile, *, n_in: int = 96, n_out: int = 8) -> tuple[str, ...]:
    """Check a tile with an analog crossbar on a small random matrix.

    Args:
        tile: the tile.
        n_in: rows of the matrix.
        n_out: columns of the matrix.

    Returns:
        Names of the checks that passed.

    Raises:
        CimsimError: naming the first check that fails and what it found, or if the tile's
            crossbars are digital.
    """
    if tile.crossbar.kind == "digital":
        raise CimsimError("digital crossbars are exact: nothing to check", key="tile.crossbar.kind")
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((n_in, n_out)).astype(np.float32)
    x = rng.standard_normal((_TOKENS, n_in)).astype(np.float32)
    programmed = _program(tile, weight, x)
    return run_checks(
        "tile",
        [
            ("without errors and loss it is the exact product", lambda: _exact(tile, weight, x)),
            ("the fast path agrees with its slow twin", lambda: _twin(programmed, x)),
            ("results do not depend on the batch", lambda: _batch(programmed, x)),
            ("conversions are those of the tiling", lambda: _conversions(programmed, x)),
            ("inputs that are not finite are refused", lambda: _refused(programmed, x)),
            ("an empty batch gives an empty result", lambda: _empty(programmed)),
            ("outputs are finite in both modes", lambda: _finite(programmed, x)),
        ],
    )


def _keys(n: int) -> TokenKeys:
    return TokenKeys(np.zeros(n, np.int64), np.arange(n, dtype=np.int64))


def _program(tile: Tile, weight: NDArray[np.float32], x: NDArray[np.float32]) -> ProgrammedMatrix:
    adc_range = calibrate_range(weight, _MATRIX, tile, x)
    found = program_matrix(weight, tile, Writing(0, _MATRIX), adc_range)
    assert isinstance(found, ProgrammedMatrix)  # noqa: S101 - digital tiles were refused
    return found


def _exact(tile: Tile, weight: NDArray[np.float32], x: NDArray[np.float32]) -> str | None:
    straight = {"rows": ((0.0, 0.0, 0.0), (1.0, 65535.0, 0.0))}  # of a measured one
    wide = type(tile.adc).model_validate(
        tile.adc.model_dump()
        | (straight if isinstance(tile.adc, MeasuredAdc) else {})
        | {"bits": 16, "enob": None, "range": {"kind": "full"}, "offset_lsb": 0.0}
        | {"gain_sigma": 0.0, "inl_lsb": 0.0, "noise_lsb": 0.0, "curve": STRAIGHT}
    )
    clean = tile.model_copy(
        update={
            "device": IdealDevice(cell_bits=tile.device.cell_bits),
            "crossbar": tile.crossbar.model_copy(update={"wire_ohm": 0.0}),
            "adc": wide,
        }
    )
    programmed = _program(clean, weight, x)
    if programmed.step_levels != 1.0:
        return None  # sixteen bits do not hold every sum: nothing exact is promised
    found = programmed.multiply(x, _keys(x.shape[0]), read_seed=0)
    exact = ideal_integer(weight, clean, adc_range=programmed.adc_range)
    expected = exact.multiply(x, _keys(x.shape[0]))
    return None if np.array_equal(found, expected) else "products differ"


def _twin(programmed: ProgrammedMatrix, x: NDArray[np.float32]) -> str | None:
    keys = _keys(x.shape[0])
    fast = programmed.multiply(x, keys, read_seed=1)
    slow = slow_product.multiply(programmed, x, keys, read_seed=1)
    return None if np.array_equal(fast, slow) else "products differ"


def _batch(programmed: ProgrammedMatrix, x: NDArray[np.float32]) -> str | None:
    keys = _keys(x.shape[0])
    whole = programmed.multiply(x, keys, read_seed=1)
    for token in range(x.shape[0]):
        rows = np.array([token])
        alone = programmed.multiply(x[rows], keys.take(rows), read_seed=1)
        if not np.array_equal(alone[0], whole[token]):
            return f"token {token} alone differs"
    return None


def _conversions(programmed: ProgrammedMatrix, x: NDArray[np.float32]) -> str | None:
    statistics = MacStatistics()
    programmed.multiply(x, _keys(x.shape[0]), read_seed=1, statistics=statistics)
    each, total = programmed.formats.tiling.conversions_per_vector, statistics.total
    expected = each * x.shape[0] - total.skipped + total.recovered
    same = statistics.conversions == expected
    return None if same else f"{statistics.conversions} conversions, tiling says {expected}"


def _refused(programmed: ProgrammedMatrix, x: NDArray[np.float32]) -> str | None:
    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[0, 0] = value
        try:
            programmed.multiply(bad, _keys(x.shape[0]), read_seed=1)
        except CimsimError:
            continue
        return f"an input of {value} is accepted"
    return None


def _empty(programmed: ProgrammedMatrix) -> str | None:
    none = np.zeros((0, programmed.formats.n_in), dtype=np.float32)
    shape = programmed.multiply(none, _keys(0), read_seed=1).shape
    return None if shape == (0, programmed.formats.n_out) else f"shape {shape}"


def _finite(programmed: ProgrammedMatrix, x: NDArray[np.float32]) -> str | None:
    keys = _keys(x.shape[0])
    detailed = programmed.multiply(x, keys, read_seed=1)
    folded = programmed.multiply(x, keys, read_seed=1, mode="folded")
    finite = np.isfinite(detailed).all() and np.isfinite(folded).all()
    return None if finite else "an output is not a finite number"
