"""Fresh noise of a conversion, referred to the converter's input.

Independent Gaussian noise of the cells of a column adds to one Gaussian of variance
sum_i x_i^2 sigma_i^2, so one normal per conversion is exact (no cell is clipped at a read, and
reads are white). With one-bit codes on single cells and a variance proportional to G that
sum is the column sum itself; with one sigma for all cells it counts driven rows; else it is
a second product of squared codes with the cells' variances.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.config import Tile
from cimsim.mac.adc import fresh_variance
from cimsim.mac.formats import Formats
from cimsim.mac.program import Cells

__all__ = ["FreshNoise", "fresh_noise"]


@dataclass(frozen=True)
class FreshNoise:
    """Variances of fresh noise of a conversion, in codes squared.

    Attributes:
        row_variance: a squared code that drives a row, for all columns alike.
        slope: a grid unit of the column sum.
        square_scale: a unit of the second product (level-dependent noise).
        adc_variance: of the converter itself.
    """

    row_variance: float
    slope: float
    square_scale: float
    adc_variance: float


def fresh_noise(tile: Tile, formats: Formats, cells: Cells, step_levels: float) -> FreshNoise:
    """Return the fresh noise of a programmed matrix in units of its converter's codes."""
    step2 = step_levels**2
    variance = cells.variance
    row, slope = 0.0, 0.0
    if variance > 0.0 and tile.device.read_noise.scaling == "constant":
        row = variance / step2 * (2.0 if formats.analog_difference else 1.0)
    elif variance > 0.0 and cells.squares is None:
        share = variance / cells.tables.to_levels / step2
        slope = share * cells.grid
        row = share * cells.tables.base  # the lowest level's conductance
    return FreshNoise(row, slope, cells.square_grid / step2, fresh_variance(tile))
