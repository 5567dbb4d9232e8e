"""Records that the stage cache keeps: no file can ask for another class."""

from __future__ import annotations

from cimsim.chip import UnitKey
from cimsim.mac import AdcRange, MacStatistics
from cimsim.mac.statistics import MatrixCounts
from cimsim.model import Correction, ScoreResult
from cimsim.model.correction_steps import (
    ColumnCorrection,
    ColumnTrim,
    LowRank,
    Replica,
    RouterRefit,
    SlotRewrite,
)
from cimsim.model.router_correction import QuantileMap
from cimsim.results.run import CHIP_RECORDS
from cimsim.stages.scoring import Noisy, Treated
from cimsim.workload.matrix import MatrixId
from cimsim.workload.trace import RoutingTrace
from romer import Calibrated
from romer.acceptance import Verdict

__all__ = ["KEPT"]

KEPT: tuple[type, ...] = (
    AdcRange,
    Calibrated,
    ColumnCorrection,
    ColumnTrim,
    Correction,
    LowRank,
    MacStatistics,
    MatrixCounts,
    MatrixId,
    Noisy,
    QuantileMap,
    Replica,
    RouterRefit,
    RoutingTrace,
    ScoreResult,
    SlotRewrite,
    Treated,
    UnitKey,
    Verdict,
    *CHIP_RECORDS,
)
