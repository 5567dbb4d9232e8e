"""The chip in time: events, contention, expert switching, and what they cost.

`simulate` is the entry. Read `reference` first: it is the model; `compiled` is the same
model for scale.
"""

from cimsim.engine.raw import PARTS
from cimsim.engine.result import EngineResult, Switching, Utilisation, VisitLog
from cimsim.engine.run import simulate
from cimsim.engine.steps import CorrectionWork

__all__ = [
    "PARTS",
    "CorrectionWork",
    "EngineResult",
    "Switching",
    "Utilisation",
    "VisitLog",
    "simulate",
]
