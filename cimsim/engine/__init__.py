"""The chip in time: events, contention, expert switching, and what they cost.

`simulate` is the entry. What happens in time is in `events`: read `events.streams`, then
`events.serving`.
"""

from cimsim.engine.build import build_plan, check_trace
from cimsim.engine.numbers import Numbers, rows_of_visit
from cimsim.engine.plan import Plan
from cimsim.engine.raw import PARTS
from cimsim.engine.resources import Resource, Utilisation
from cimsim.engine.result import EngineResult, Switching, VisitLog
from cimsim.engine.run import simulate, time_plan
from cimsim.engine.steps import CorrectionWork
from cimsim.engine.visit import Visit

__all__ = [
    "PARTS",
    "CorrectionWork",
    "EngineResult",
    "Numbers",
    "Plan",
    "Resource",
    "Switching",
    "Utilisation",
    "Visit",
    "VisitLog",
    "build_plan",
    "check_trace",
    "rows_of_visit",
    "simulate",
    "time_plan",
]
