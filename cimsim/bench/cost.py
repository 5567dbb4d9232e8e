"""What evaluating costs takes of a run's time.

In a short run (the least work around the cost model: one chip seed, no calibration) every
call into `CostModel`, that of peak figures included, is timed from outside, and compared with the
whole, both in processor time. The first run after an installation also compiles kernels,
which flatters the share: measure the second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any
from unittest.mock import patch

from cimsim.config.load import find_chip, load_chip
from cimsim.cost import CostModel
from cimsim.pipeline import run_chip
from cimsim.stages.models import read_text

__all__ = ["run_cost_bench", "timed_cost"]

TARGET = 0.01
SHORT = ("run.chip_seeds=1", "calibration.method=identity")
METHODS = (
    "__init__",
    "visit_timing",
    "programming_ps",
    "programming_bytes",
    "digital_ps",
    "conversions",
    "charge",
    "area",
    "area_mm2",
    "leakage",
    "not_modelled",
)


@dataclass
class _Clock:
    """Processor time inside the outermost of nested calls."""

    spent_s: float = 0.0
    depth: int = 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and is timed."""

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            self.depth += 1
            try:
                return call(*args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.spent_s += time.process_time() - started

        return timed


@contextmanager
def timed_cost() -> Iterator[_Clock]:
    """Time every call into the cost model while the context lasts."""
    clock = _Clock()
    with ExitStack() as stack:
        for name in METHODS:
            timed = clock.around(getattr(CostModel, name))
            stack.enter_context(patch.object(CostModel, name, timed))
        yield clock


def run_cost_bench(chip: str = "isaac", tokens: int = 512) -> dict[str, object]:
    """Return seconds of a run, seconds in the cost model, and their ratio.

    Args:
        chip: a chip file or the name of a bundled chip.
        tokens: scored and timed tokens.
    """
    config = load_chip(find_chip(chip), (*SHORT, f"workload.tokens={tokens}"))
    texts = read_text(None)
    started = time.process_time()
    with timed_cost() as clock:
        run_chip(config, "olmoe-tiny", texts)
    whole = time.process_time() - started
    return {
        "chip": config.name,
        "tokens": tokens,
        "run, processor seconds": round(whole, 2),
        "cost model, processor seconds": round(clock.spent_s, 3),
        "share": round(clock.spent_s / whole, 5),
        "target": f"under {TARGET:.0%}",
    }
