"""Level L: how noisy a family's chip must be before the uncalibrated model is lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from romer.study.cache import Cache
from romer.study.laboratory import Laboratory
from romer.study.measure import configure
from romer.study.plan import Plan, cells_of

__all__ = ["find_level"]


def find_level(
    plan: Plan, model: str, cache: Cache, say: Callable[[str], None]
) -> tuple[float, bool]:
    """Return level L of a model, and whether any level reached the factor.

    Uncalibrated chips of development seeds read ACCEPT calibration text: neither test chips
    nor test text play a part.

    Args:
        plan: the plan.
        model: which model.
        cache: finished measurements.
        say: told what is measured.
    """
    levels = [float(v) for v in plan["levels"]]
    cell = next(c for c in cells_of(plan, dict.fromkeys(plan["models"], 0.0)) if c.model == model)
    for sigma in levels:
        chips = plan["development_chips"]
        key = {"level": model, "sigma": sigma, "chips": chips, "tokens": cell.tokens}
        row = cache.get(key)
        if row is None:
            say(f"level of {model}: sigma {sigma}")
            lab = Laboratory.open(configure(plan, cell, sigma), model)
            windows = lab.prepare(cell.tokens).text.accept
            sequences = np.arange(len(windows), dtype=np.int64)
            clean = lab.decoder.score(windows, lab.digital, sequences=sequences).nll.mean()
            noisy = []
            for chip in chips:
                linear = lab.deploy(chip).linear(None, read_seed=0, mode="folded")
                noisy.append(lab.decoder.score(windows, linear, sequences=sequences).nll.mean())
            row = {"nll_clean": float(clean), "nll_noisy": float(np.mean(noisy))}
            cache.put(key, row)
        if np.exp(row["nll_noisy"] - row["nll_clean"]) >= plan["level_factor"]:
            return sigma, True
    return levels[-1], False
