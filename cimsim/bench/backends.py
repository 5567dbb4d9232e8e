"""Speed of the torch backend on the processor against Numba, on the bundled models.

Protocol: one chip of `eflash_40nm`, 512 scored tokens in windows of 256, torch with the Numba
tile's codes (`run.precision: exact`) on one thread; OPENBLAS_NUM_THREADS=1 does the same for BLAS.
Kernels are warm. Of each model and tile mode both backends are timed in turn at each repetition;
ratios are paired within a repetition and their median counts.

* write: every analog matrix is written into cells and folded, where the mode folds: torch writes a
  matrix when it is first read, so that what a first pass takes longer than a second one counts.
* score: noisy scoring of the text with matrices that have been written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch

from cimsim.config.load import find_chip, load_chip
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import ModelOnText, open_subject
from cimsim.zoo import bundled_models

__all__ = ["TARGET", "run_backend_bench"]

CHIP = "eflash_40nm"
MODES: tuple[Literal["detailed", "folded"], ...] = ("detailed", "folded")
BACKENDS = ("numba", "torch")
TARGET = 1.3  # times Numba's time that torch may take


@dataclass(frozen=True)
class _Side:
    """One backend with one model on the chip."""

    subject: ModelOnText
    fresh: ProgrammedChip

    def time(self, mode: Literal["detailed", "folded"]) -> tuple[float, float]:
        """Return the seconds of writing and of scoring; a chip begins without any copy."""
        chip = ProgrammedChip.program(
            self.fresh.tile, self.fresh.temperature_c, self.fresh.checkpoint, self.fresh.holds,
            self.fresh.ranges, self.fresh.digital, 0, self.fresh.compute,
        )  # fmt: skip
        start = perf_counter()
        copies = [copy for some in chip.programmed.values() for copy in some]
        if mode == "folded":
            for copy in copies:
                _ = copy.folds  # folds it
        linear = chip.linear(None, read_seed=0, mode=mode)
        windows, ends = self.subject.windows, [perf_counter()]
        for _ in range(2):
            self.subject.decoder.score(windows, linear, sequences=np.arange(len(windows)))
            ends.append(perf_counter())
        second = ends[2] - ends[1]
        return max(ends[1] - start - second, 0.0), second


def run_backend_bench(
    models: Sequence[str] = (), *, tokens: int = 512, repetitions: int = 5
) -> dict[str, Any]:
    """Time both backends and return the figures of `bench backends --json`.

    Args:
        models: bundled models; all of them by default.
        tokens: scored.
        repetitions: paired repetitions; their median counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {name: _ratios(name, tokens, repetitions) for name in models or bundled_models()}
    finally:
        torch.set_num_threads(threads)
    worst = max(row["score"]["ratio"] for modes in found.values() for row in modes.values())
    return {
        "protocol": f"{CHIP}, {tokens} tokens, torch on a processor over numba, one thread each, "
        f"median of {repetitions} paired repetitions",
        **found,
        "worst ratio of scoring": round(worst, 3),
        "target": TARGET,
    }


def _side(model: str, tokens: int, backend: str) -> _Side:
    knobs = (f"workload.tokens={tokens}", "workload.context=256", f"run.backend={backend}")
    config = load_chip(find_chip(CHIP), knobs)
    subject = open_subject(model, read_text(None), config)
    placed = place_chip(config, subject.program, subject.expected)
    ranges = find_ranges(config, subject, placed.copies)
    chip = ProgrammedChip.program(
        config.tile, config.technology.temperature_c, subject.checkpoint, placed.copies, ranges,
        subject.digital, 0, subject.compute,
    )  # fmt: skip
    return _Side(subject, chip)


def _ratios(model: str, tokens: int, repetitions: int) -> dict[str, Any]:
    """Return seconds and ratios of one model by tile mode."""
    sides = [_side(model, tokens, backend) for backend in BACKENDS]
    found: dict[str, Any] = {}
    for mode in MODES:
        for side in sides:
            side.time(mode)
        times = np.array([[side.time(mode) for side in sides] for _ in range(repetitions)])
        found[mode] = {
            part: {
                "numba_s": round(float(np.median(times[:, 0, i])), 4),
                "torch_s": round(float(np.median(times[:, 1, i])), 4),
                "ratio": round(float(np.median(times[:, 1, i] / times[:, 0, i])), 3),
            }
            for i, part in enumerate(("write", "score"))
        }
    return found
