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
"""

from romer.calibrate import Calibrated, Untreated, calibrate
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
