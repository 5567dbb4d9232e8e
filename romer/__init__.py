"""Post-training calibration of mixture-of-experts models on noisy hardware.

`romer` implements our reading of ROMER (arXiv 2605.11800): replace under-activated
experts, recalibrate router logits by percentiles; and steps beyond it. A calibrator sees
the clean checkpoint, calibration text and the chip's digital outputs, and returns an
immutable `Correction`.

==================  =============================================================
`calibrate`         run a method's steps, each kept only if it helps fresh documents
`Task`              everything that a calibrator sees
`Untreated`         where all methods on one chip start, measured once
`split_documents`   FIT and ACCEPT windows of a text
`steps_of`          the steps of a method
`METHODS`           the registered methods
`register_step`     makes a step of a function
==================  =============================================================

Public names are imported on first use: ``python -m romer`` imports this package before it can take
signals.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romer.calibration import Calibrated, Untreated, calibrate
    from romer.registry import METHODS, register_step, steps_of
    from romer.task import CalibrationText, CleanReference, Task, split_documents

__all__ = [
    "METHODS",
    "Calibrated",
    "CalibrationText",
    "CleanReference",
    "Task",
    "Untreated",
    "calibrate",
    "register_step",
    "split_documents",
    "steps_of",
]

_LAZY = {
    "METHODS": "registry",
    "Calibrated": "calibration",
    "CalibrationText": "task",
    "CleanReference": "task",
    "Task": "task",
    "Untreated": "calibration",
    "calibrate": "calibration",
    "register_step": "registry",
    "split_documents": "task",
    "steps_of": "registry",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f"romer.{_LAZY[name]}"), name)
    message = f"module 'romer' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
