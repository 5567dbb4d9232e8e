"""The functional tile: noisy matrix products as crossbars, converters and cells make them.

| name | what it is |
|---|---|
| `calibrate_range` | converter range and static input scale from clean inputs |
| `program_matrix` | a weight matrix written into crossbars |
| `Writing` | which copy is written: the addresses of all that a chip seed freezes |
| `ProgrammedMatrix.multiply` | its product with tokens, detailed or folded |
| `ideal_integer` | the exact integer product in the same formats |
| `study_tile` | what limits a tile: error by source, best range and bits |
| `AgeGrid` | ages at which drifting conductances are evaluated |
| `knobs_without_effect`, `unpaid_writes`, `unused_range` | warnings about knobs |
| `MacStatistics` | clip rate, bit density and counts by matrix |
| `DeviceModel`, `register_device` | how to plug in a cell of one's own |
| `register_curve` | how to plug in the transfer curve of a converter |
"""

from cimsim.mac.adc import AdcRange
from cimsim.mac.ageing import AgeGrid
from cimsim.mac.calibrate import calibrate_range
from cimsim.mac.curves import register_curve
from cimsim.mac.devices import DeviceModel, DriftLaw, WriteError, register_device
from cimsim.mac.ideal import IdealMatrix, ideal_integer
from cimsim.mac.matrix import Mode, ProgrammedMatrix
from cimsim.mac.programming import program_matrix
from cimsim.mac.statistics import MacStatistics, MatrixCounts
from cimsim.mac.study import SourceError, TileStudy, study_tile, tile_error
from cimsim.mac.without_effect import knobs_without_effect, unpaid_writes, unused_range
from cimsim.mac.writing import NO_SLOT, Writing

__all__ = [
    "NO_SLOT",
    "AdcRange",
    "AgeGrid",
    "DeviceModel",
    "DriftLaw",
    "IdealMatrix",
    "MacStatistics",
    "MatrixCounts",
    "Mode",
    "ProgrammedMatrix",
    "SourceError",
    "TileStudy",
    "WriteError",
    "Writing",
    "calibrate_range",
    "ideal_integer",
    "knobs_without_effect",
    "program_matrix",
    "register_curve",
    "register_device",
    "study_tile",
    "tile_error",
    "unpaid_writes",
    "unused_range",
]
