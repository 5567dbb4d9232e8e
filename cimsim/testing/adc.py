"""A battery for converter sections: their transfer, as codes against column sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Adc, Tile
from cimsim.config.converter import FixedRange, MeasuredAdc
from cimsim.config.device import IdealDevice
from cimsim.config.tile import Crossbar, InputFormat, WeightFormat
from cimsim.mac import AdcRange, ProgrammedMatrix, Writing, program_matrix
from cimsim.mac.adc import fresh_variance
from cimsim.mac.curves import curve_of
from cimsim.testing.battery import run_checks
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["check_adc_model"]

_ROWS = 256
_MATRIX = MatrixId(0, "checked")
_READS = 400


def check_adc_model(adc: Adc) -> tuple[str, ...]:
    """Check the transfer of a converter section on a column of ideal one-level cells.

    The column sum is the number of driven rows, 0 to 256, so the whole range is swept.

    Args:
        adc: the section, e.g. ``IsaacAdc(bits=6, offset_lsb=0.5)``.

    Returns:
        Names of the checks that passed.

    Raises:
        CimsimError: naming the first check that fails and what it found.
    """
    top = (1 << adc.bits) - 1
    quiet = _quiet(adc)
    ideal = quiet.model_copy(update={"offset_lsb": 0.0, "gain_sigma": 0.0, "inl_lsb": 0.0})
    return run_checks(
        f"converter {getattr(adc, 'kind', type(adc).__name__)}",
        [
            ("codes stay inside their bits", lambda: _inside(_sweep(adc, 1), top)),
            ("without errors the transfer is its rounded curve", lambda: _rounds(ideal, top)),
            ("without fresh noise codes repeat", lambda: _repeats(quiet)),
            ("frozen errors stay within six sigma", lambda: _bounded(quiet, top)),
            ("sums beyond the range clip to the ends", lambda: _clips(ideal, top)),
            ("fresh noise has the variance of noise_lsb and enob", lambda: _noise(adc)),
        ],
    )


def _quiet(adc: Adc) -> Adc:
    """Return a converter without fresh noise."""
    found = adc.model_copy(update={"noise_lsb": 0.0, "enob": None})
    if isinstance(found, MeasuredAdc):
        rows = tuple((place, code, 0.0) for place, code, _ in found.rows)
        found = found.model_copy(update={"rows": rows})
    return found


def _tile(adc: Adc, levels: float) -> Tile:
    return Tile(
        crossbar=Crossbar(rows=_ROWS, cols=4),
        weight=WeightFormat(bits=2, encoding="offset"),
        input=InputFormat(bits=2),
        device=IdealDevice(cell_bits=2),
        adc=adc.model_copy(update={"range": FixedRange(levels=levels)}),
    )


def _programmed(adc: Adc, levels: float) -> ProgrammedMatrix:
    tile = _tile(adc, levels)
    weight = np.full((_ROWS, 1), -1.0, dtype=np.float32)  # stored as level 1
    found = program_matrix(weight, tile, Writing(0, _MATRIX), AdcRange(levels))
    assert isinstance(found, ProgrammedMatrix)  # noqa: S101 - the crossbar is analog
    return found


def _sweep(adc: Adc, repeats: int, levels: float = float(_ROWS)) -> NDArray[np.int64]:
    """Return codes [repeats, 257] of 0 to 256 driven rows."""
    counts = np.tile(np.arange(_ROWS + 1), repeats)
    x = (np.arange(_ROWS)[None, :] < counts[:, None]).astype(np.float32)
    keys = TokenKeys(np.zeros(counts.size, np.int64), np.arange(counts.size, dtype=np.int64))
    codes = _programmed(adc, levels).codes(x, keys, read_seed=0)
    return codes[0, :, 0, 0].reshape(repeats, _ROWS + 1).astype(np.int64)


def _inside(codes: NDArray[np.int64], top: int) -> str | None:
    least, most = int(codes.min()), int(codes.max())
    return None if least >= 0 and most <= top else f"codes from {least} to {most}"


def _transfer(adc: Adc, top: int) -> NDArray[np.float64]:
    """Return what 0 to 256 driven rows should give, in codes, not rounded."""
    place = np.arange(_ROWS + 1) / _ROWS
    curve = curve_of(adc)
    bend = np.interp(place, np.linspace(0.0, 1.0, curve.size), curve) if curve.size else 0.0
    return np.asarray(place * top + bend)


def _rounds(ideal: Adc, top: int) -> str | None:
    error = float(np.abs(_sweep(ideal, 1)[0] - _transfer(ideal, top)).max())
    return None if error <= 0.5 + 1e-3 else f"a code is {error:g} off"


def _repeats(quiet: Adc) -> str | None:
    codes = _sweep(quiet, 3)
    return None if (codes == codes[0]).all() else "codes of the same sum differ"


def _bounded(quiet: Adc, top: int) -> str | None:
    limit = 0.51 + 6.0 * (quiet.offset_lsb + quiet.gain_sigma * top) + quiet.inl_lsb
    error = float(np.abs(_sweep(quiet, 1)[0] - _transfer(quiet, top)).max())
    return None if error <= limit else f"a code is {error:g} off, at most {limit:g} expected"


def _clips(ideal: Adc, top: int) -> str | None:
    codes = _sweep(ideal, 1, levels=_ROWS / 2.0)[0]
    curve = curve_of(ideal)
    beyond = np.arange(_ROWS + 1) * (2.0 * top / _ROWS) + (curve[-1] if curve.size else 0.0)
    error = np.abs(codes - np.minimum(beyond, top))[_ROWS // 2 + 1 :].max()
    return None if error <= 0.5 + 1e-3 else f"a code beyond the range is {error:g} off"


def _noise(adc: Adc) -> str | None:
    sigma = float(np.sqrt(fresh_variance(_tile(adc, float(_ROWS)))))
    # Rows enough for a code in the middle; rounding adds its own 1/12 where noise is large.
    codes = _sweep(adc, _READS)[:, _ROWS // 4 : 3 * _ROWS // 4].astype(np.float64)
    found = float(np.sqrt(codes.var(axis=0).mean()))
    top = (1 << adc.bits) - 1
    if sigma < 0.5 or sigma > top / 24.0:
        return None if (sigma > 0.0) or found == 0.0 else f"noise of {found:g} LSB from none"
    expected = float(np.sqrt(sigma**2 + 1.0 / 12.0))
    return None if abs(found / expected - 1.0) < 0.05 else f"{found:g} LSB, expected {expected:g}"
