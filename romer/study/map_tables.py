"""From measurements of the map to its tables: shares of gaps closed, intervals, tests, verdicts.

With L the loss of a chip, the share that a treatment closes is

    (mean L_before - mean L_after) / (mean L_before - L_clean)

in nats, means over chips; before is the untreated chip, or the trimmed one for what starts there.
Intervals resample chips and scored windows with replacement, 1,000 times, at one fixed key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from cimsim.results.destroyed import is_destroyed
from romer.study.map_plan import Cell, MapPlan, Place
from romer.study.summary import holm
from romer.study.treatment import TRIM

__all__ = ["PlaceMeasurement", "cell_of", "map_rows", "smallest_sizes"]

Row = dict[str, Any]
Floats = NDArray[np.float64]
DRAWS = 1000
DRAWS_KEY = 16
HALF = 0.5
ENDPOINTS = ("two_steps", f"{TRIM}+two_steps")


@dataclass(frozen=True)
class PlaceMeasurement:
    """A place of the map and its measurements.

    Attributes:
        place: what was measured.
        shared: figures that all chips have in common.
        treated: by treatment, a record a chip; "noisy" is the untreated chip.
    """

    place: Place
    shared: Row
    treated: dict[str, tuple[Row, ...]]

    def windows(self, treatment: str) -> Floats:
        """Return the loss of every chip and window, [chips, windows]."""
        return np.array([r["nll_windows"] for r in self.treated[treatment]], dtype=np.float64)

    def before(self, treatment: str) -> str:
        """Return where a treatment starts: at the untreated chip, or at the trimmed one."""
        return TRIM if treatment.startswith(f"{TRIM}+") else "noisy"

    def mean(self, treatment: str, column: str) -> float:
        """Return the mean over chips of a figure."""
        values = [r.get(column) for r in self.treated[treatment]]
        known = [float(v) for v in values if v is not None]
        return float(np.mean(known)) if known else math.nan


def map_rows(plan: MapPlan, measured: Sequence[PlaceMeasurement]) -> list[Row]:
    """Return the table of the map: a row for each treatment of each place."""
    rows = [_row(plan, m, name) for m in measured for name in m.treated if name != "noisy"]
    primary = [r for r in rows if r["primary"]]
    for row, p in zip(primary, holm([r["p_value"] for r in primary]), strict=True):
        row["p_value"] = p
    return rows


def cell_of(row: Row) -> Cell:
    """Return the name of the cell that a row is of: `Place.cell`."""
    return row["model"], row["error"], row["size"], row["parts"]


def _row(plan: MapPlan, m: PlaceMeasurement, name: str) -> Row:
    place, start = m.place, m.before(name)
    before, after = m.windows(start), m.windows(name)
    clean = np.asarray(m.shared["nll_clean_windows"], dtype=np.float64)
    gap = float(before.mean() - clean.mean())
    destroyed = is_destroyed(math.exp(float(before.mean())), m.shared["ppl_unigram"])
    told = not destroyed and gap >= plan["least_gap_nats"]
    low, high = _interval(before, after, clean) if told else (math.nan, math.nan)
    return {
        "model": place.model,
        "error": place.error,
        "unit": plan["kinds"][place.error]["unit"],
        "size": place.size,
        "size_class": place.size_class,
        "parts": place.parts,
        "treatment": name,
        "starts_at": "trimmed" if start == TRIM else "untreated",
        "primary": place.primary and name in ENDPOINTS,
        "chips": len(before),
        "nll_clean": float(clean.mean()),
        "nll_before": float(before.mean()),
        "nll_after": float(after.mean()),
        "ppl_before": math.exp(float(before.mean())),
        "ppl_after": math.exp(float(after.mean())),
        "gap_nats": gap,
        "destroyed": destroyed,
        "share_closed": float(before.mean() - after.mean()) / gap if told else math.nan,
        "share_low": low,
        "share_high": high,
        "cut_ppl": 1.0 - math.exp(float(after.mean() - before.mean())),
        "p_value": two_sided_p(before.mean(axis=1) - after.mean(axis=1)),
        "load_tv_before": m.mean(start, "load_tv"),
        "load_tv_after": m.mean(name, "load_tv"),
        "agreement_before": m.mean(start, "topk_agreement"),
        "agreement_after": m.mean(name, "topk_agreement"),
        "load_cv_before": m.mean(start, "load_cv"),
        "load_cv_clean": m.shared["load_cv_clean"],
        "steps": _steps(m.treated[name]),
    }


def _steps(records: Sequence[Row]) -> str:
    """Return the steps kept, each with how many chips kept it."""
    kept = [s for r in records for s in r.get("kept", ())]
    return "; ".join(f"{s} {kept.count(s)}/{len(records)}" for s in dict.fromkeys(kept))


def two_sided_p(gains: Floats) -> float:
    """Return the p value of "the mean gain is zero", paired t over chips."""
    n = len(gains)
    spread, mean = float(gains.std(ddof=1)), float(gains.mean())
    if spread == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(min(1.0, 2.0 * stdtr(n - 1, -abs(mean) / (spread / math.sqrt(n)))))


def _interval(before: Floats, after: Floats, clean: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the share closed, over chips and windows."""
    rng = np.random.Generator(np.random.Philox(key=DRAWS_KEY))
    chips, windows = before.shape
    shares = np.empty(DRAWS)
    for i in range(DRAWS):
        c, w = rng.integers(0, chips, chips), rng.integers(0, windows, windows)
        old, new = before[np.ix_(c, w)].mean(), after[np.ix_(c, w)].mean()
        shares[i] = (old - new) / (old - clean[w].mean())
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def smallest_sizes(rows: Sequence[Row]) -> list[Row]:
    """Return, per model, kind and parts, the smallest error at which the steps close half.

    Sizes of a kind rise in the plan; what lies between two of them is not interpolated.
    """
    found: list[Row] = []
    keys = dict.fromkeys((r["model"], r["error"], r["parts"]) for r in rows)
    for model, error, parts in keys:
        line: Row = {"model": model, "error": error, "parts": parts}
        for name, label in zip(ENDPOINTS, ("before trimming", "after trimming"), strict=True):
            at = (model, error, parts, name)
            cells = [r for r in rows if (r["model"], r["error"], r["parts"], r["treatment"]) == at]
            reached = [r for r in cells if r["share_closed"] >= HALF]
            line[label] = f"{reached[0]['size']:g} ({reached[0]['size_class']})" if reached else "-"
            known = [r["share_closed"] for r in cells if not math.isnan(r["share_closed"])]
            line[f"most {label}"] = max(known) if known else math.nan
        found.append(line)
    return found
