"""What limits one tile: its error, by source, and the converter that would serve it best.

Every figure is a relative root mean square error of outputs, against the float product or
against the exact product of the same integers. A source is looked at twice: alone, with all
others removed, and removed, with all others kept; the two differ where sources interact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log10
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac.calibrate import calibrate_range
from cimsim.mac.ideal import ideal_integer
from cimsim.mac.matrix import ProgrammedMatrix
from cimsim.mac.predict import PredictedError, predict_error
from cimsim.mac.programming import program_matrix
from cimsim.mac.sources import REMOVED, with_adc, without_rounding
from cimsim.mac.statistics import MacStatistics, MatrixCounts
from cimsim.mac.writing import Writing
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["SourceError", "TileStudy", "study_tile", "tile_error"]

_Key = TypeVar("_Key")
_MATRIX = MatrixId(0, "studied")
_BITS = tuple(range(3, 15))
_WORTH = 1.05  # a converter bit that lowers the error by less is not recommended


@dataclass(frozen=True)
class SourceError:
    """Error that one source causes.

    Attributes:
        name: cells, cell_shift, warm_cells, stuck, read_noise, wires, supply_droop, stuck_columns,
            reference, converter_drift, converter_offset, converter_gain, converter_errors (what
            is left of those) or rounding (and clipping).
        alone: relative error with this source only; None if every exact output is 0.
        without: relative error with every source but this; None as above.
    """

    name: str
    alone: float | None
    without: float | None

    @property
    def label(self) -> str:
        """Name for a reader: a converter without rounding has the full range, too."""
        return "rounding, clipping" if self.name == "rounding" else self.name.replace("_", " ")


@dataclass(frozen=True)
class TileStudy:
    """One page on a tile. A ratio to outputs that are all 0 is None; `undefined` says why.

    Attributes:
        error: relative error against the exact integer product.
        error_float: relative error against the float product.
        error_formats: relative error of the integer formats alone, against the float product.
        sqnr_db: signal to error ratio of outputs, against the float product; None also where
            there is no error.
        effective_bits: (sqnr_db - 1.76) / 6.02, None as above.
        clip_rate: share of conversions outside the range.
        range_levels: top of the converter's range.
        step_levels: width of a code.
        folds: whether folded mode serves this tile.
        errors: float64 [n x n_out], errors over the rms of the exact outputs, for a histogram;
            empty where that is 0.
        counts: what its converters and word lines did.
        predicted: the error that closed forms expect.
        sources: error by source, those that are present.
        error_by_bits: relative error by converter bits, all else the same; empty if undefined.
        recommended_bits: least bits that are within 5 % of the best, None without errors to
            compare.
        error_by_range: relative error by range: auto, full, percentile of the sums; empty if
            undefined.
        recommended_range: the range of least error, None as above.
    """

    error: float | None
    error_float: float | None
    error_formats: float | None
    sqnr_db: float | None
    effective_bits: float | None
    clip_rate: float | None
    range_levels: float
    step_levels: float
    folds: bool
    errors: NDArray[np.float64]
    counts: MatrixCounts
    predicted: PredictedError
    sources: tuple[SourceError, ...]
    error_by_bits: dict[int, float]
    recommended_bits: int | None
    error_by_range: dict[str, float]
    recommended_range: str | None

    @property
    def undefined(self) -> tuple[str, ...]:
        """Why figures are None, a sentence each."""
        found = []
        if self.error is None:
            found.append(
                "every output of the exact integer product is 0: errors relative to it, and the "
                "bits and range of least error, are undefined"
            )
        if self.error_float is None:
            found.append(
                "every output of the float product is 0: errors relative to it, SQNR and "
                "effective bits are undefined"
            )
        elif self.sqnr_db is None:
            found.append(
                "there is no error against the float product: SQNR and effective bits have no bound"
            )
        return tuple(found)


def study_tile(
    tile: Tile,
    weight: NDArray[np.float32],
    inputs: NDArray[np.float32],
    *,
    chip_seed: int = 0,
    read_seed: int = 0,
    temperature_c: float = 25.0,
) -> TileStudy:
    """Study a tile with an analog crossbar on a matrix and its inputs.

    Args:
        tile: the tile.
        weight: float32 [n_in, n_out].
        inputs: float32 [n, n_in], also used to calibrate ranges.
        chip_seed: which chip.
        read_seed: seed of fresh noise.
        temperature_c: temperature of the chip.

    Raises:
        CimsimError: if the crossbar is digital (it makes no error) or there are no inputs.
    """
    if tile.crossbar.kind == "digital":
        raise CimsimError("a digital crossbar makes no error to study", key="tile.crossbar.kind")
    if inputs.shape[0] == 0:
        raise CimsimError("a study needs inputs", value=inputs.shape)
    bench = _Bench(weight, inputs, chip_seed, read_seed, temperature_c)
    found, counts, programmed = bench.run(tile)
    exact = bench.exact(tile)
    real = inputs.astype(np.float64) @ weight
    error_float = _relative(found, real)
    sqnr = -20.0 * log10(error_float) if error_float else None
    by_bits = _defined({b: bench.error(with_adc(tile, bits=b)) for b in _BITS})
    ranges: dict[str, dict[str, object]] = {kind: {"kind": kind} for kind in ("auto", "full")}
    for share in (99.0, 99.9, 99.99, 100.0):
        ranges[f"percentile {share:g}"] = {"kind": "percentile", "percentile": share}
    by_range = _defined({n: bench.error(with_adc(tile, range=r)) for n, r in ranges.items()})
    least = min(by_bits.values(), default=0.0)
    signal = _rms(exact)
    return TileStudy(
        error=_relative(found, exact),
        error_float=error_float,
        error_formats=_relative(exact, real),
        sqnr_db=sqnr,
        effective_bits=None if sqnr is None else (sqnr - 1.76) / 6.02,
        clip_rate=counts.clip_rate,
        range_levels=programmed.adc_range.top_levels,
        step_levels=programmed.step_levels,
        folds=programmed.folds,
        errors=((found - exact) / signal).ravel() if signal > 0.0 else np.empty(0),
        counts=counts,
        predicted=predict_error(
            weight, _MATRIX, tile, inputs, programmed.adc_range, temperature_c=temperature_c
        ),
        sources=_by_source(bench, tile, programmed),
        error_by_bits=by_bits,
        recommended_bits=min((b for b, e in by_bits.items() if e <= _WORTH * least), default=None),
        error_by_range=by_range,
        recommended_range=min(by_range, key=lambda name: by_range[name], default=None),
    )


def tile_error(
    tile: Tile,
    weight: NDArray[np.float32],
    inputs: NDArray[np.float32],
    *,
    chip_seed: int = 0,
    read_seed: int = 0,
    temperature_c: float = 25.0,
) -> float | None:
    """Return the error of a tile as `study_tile` does, and nothing else; its arguments."""
    return _Bench(weight, inputs, chip_seed, read_seed, temperature_c).error(tile)


def _by_source(bench: _Bench, tile: Tile, programmed: ProgrammedMatrix) -> tuple[SourceError, ...]:
    """Return the errors of the sources whose removal changes the tile."""
    remove: dict[str, Callable[[Tile], Tile]] = {
        n: f for n, f in REMOVED.items() if f(tile) != tile
    }
    if not (programmed.step_levels == 1.0 and not remove):
        remove["rounding"] = lambda t: without_rounding(t, programmed)
    sources = []
    for name, without in remove.items():
        alone = tile
        for other, change in remove.items():  # rounding last: it restates errors in its steps
            alone = change(alone) if other != name else alone
        sources.append(SourceError(name, bench.error(alone), bench.error(without(tile))))
    return tuple(sources)


@dataclass(frozen=True)
class _Bench:
    """A matrix and inputs, run on one tile after another."""

    weight: NDArray[np.float32]
    inputs: NDArray[np.float32]
    chip_seed: int
    read_seed: int
    temperature_c: float

    def _keys(self) -> TokenKeys:
        n = self.inputs.shape[0]
        return TokenKeys(np.zeros(n, dtype=np.int64), np.arange(n, dtype=np.int64))

    def run(self, tile: Tile) -> tuple[NDArray[np.float64], MatrixCounts, ProgrammedMatrix]:
        """Return outputs, counts and the programmed matrix."""
        found_range = calibrate_range(self.weight, _MATRIX, tile, self.inputs)
        writing = Writing(self.chip_seed, _MATRIX, temperature_c=self.temperature_c)
        programmed = program_matrix(self.weight, tile, writing, found_range)
        assert isinstance(programmed, ProgrammedMatrix)  # noqa: S101 - digital was refused
        statistics = MacStatistics()
        found = programmed.multiply(
            self.inputs, self._keys(), read_seed=self.read_seed, statistics=statistics
        )
        return found.astype(np.float64), statistics.total, programmed

    def exact(self, tile: Tile) -> NDArray[np.float64]:
        """Return the exact integer product in the formats of a tile."""
        adc_range = calibrate_range(self.weight, _MATRIX, tile, self.inputs)
        exact = ideal_integer(self.weight, tile, adc_range=adc_range)
        return exact.multiply(self.inputs, self._keys()).astype(np.float64)

    def error(self, tile: Tile) -> float | None:
        """Return the relative error against the exact integer product, None if that is 0."""
        return _relative(self.run(tile)[0], self.exact(tile))


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _relative(found: NDArray[np.float64], exact: NDArray[np.float64]) -> float | None:
    """Return the rms error over the rms of what is exact, None if that is 0."""
    signal = _rms(exact)
    return _rms(found - exact) / signal if signal > 0.0 else None


def _defined(errors: dict[_Key, float | None]) -> dict[_Key, float]:
    return {key: error for key, error in errors.items() if error is not None}
