"""Columns of results.csv about calibrating chips: what each part brought, what it costs, yield."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from cimsim.model.text import perplexity
from cimsim.results.chips import LEAST_CHIPS, share_interval, two_way_interval
from cimsim.results.column import Column, Empty, count, number, text
from cimsim.stages.columns.writing import IDENTITY, calibrating
from cimsim.units import PS_PER_S, PS_PER_US

if TYPE_CHECKING:
    from cimsim.results.statistics import Interval
    from cimsim.stages.measured import ChipMeasurement

__all__ = ["CALIBRATION"]

GIVEN = Empty("a saved correction is applied")
TOO_FEW = Empty(f"calibration not covered: fewer than {LEAST_CHIPS} chips")
S_PER_HOUR = 3600
_CI = "95 % interval"


def _parts(m: ChipMeasurement) -> str | Empty:
    """Return the loss before and after each kept step of chip seed 0, in nats per token."""
    found = m.accuracy.seeds[0].calibration
    if found.start_nats is None:
        return IDENTITY if m.calibration.method == "identity" else GIVEN
    left, words = found.start_nats, [f"before {found.start_nats:.3g}"]
    for verdict in found.verdicts:
        kept = [
            any(v.step == verdict.step and v.kept for v in seed.calibration.verdicts)
            for seed in m.accuracy.seeds
        ]
        some = "" if all(kept) or not any(kept) else f" ({sum(kept)} of {len(kept)} chips)"
        if verdict.kept:
            left -= verdict.gain_nats
            words.append(f"{verdict.step} {left:.3g}{some}")
        else:
            words.append(f"{verdict.step} dropped{some}")
    return "; ".join(words)


def _energy_nj(m: ChipMeasurement) -> float:
    """Return cells, test vectors and text: a token of text takes what one of prefill takes."""
    each_nj = m.before.prefill.energy_per_token_nj
    return m.calibration.energy_nj + _pass_tokens(m) * each_nj


def _time_us(m: ChipMeasurement) -> float:
    each_us = PS_PER_S / PS_PER_US / m.before.prefill.tokens_per_s
    return m.calibration.time_us + _pass_tokens(m) * each_us


def _pass_tokens(m: ChipMeasurement) -> int:
    return m.accuracy.seeds[0].calibration.pass_tokens


def _served(m: ChipMeasurement) -> float:
    """Return tokens that are served between two calibrations."""
    stated = m.config.calibration
    if stated.interval_hours is None:
        return stated.life_tokens
    within = m.calibrated.main.tokens_per_s * stated.interval_hours * S_PER_HOUR
    return min(stated.life_tokens, within)


def _worst(m: ChipMeasurement) -> float:
    return max(perplexity(score.nll) for score in m.calibrated.scores)


def _yield(m: ChipMeasurement) -> Interval:
    limit = m.config.run.perplexity_limit * perplexity(m.accuracy.clean.nll)
    good = [perplexity(score.nll) <= limit for score in m.calibrated.scores]
    return share_interval(sum(good), len(good))


def _both_ways(end: str) -> Callable[[ChipMeasurement], float | Empty]:
    def value(m: ChipMeasurement) -> float | Empty:
        found = two_way_interval(
            np.array([score.nll.mean(axis=1) for score in m.calibrated.scores], dtype=np.float64)
        )
        return TOO_FEW if found is None else exp(getattr(found, end))

    return value


_COST = "Of chip seed 0: cells written, test vectors, and text that passes the chip in prefill"
_LIFE = "over calibration.life_tokens, or the tokens of calibration.interval_hours if fewer"

CALIBRATION: tuple[Column[ChipMeasurement], ...] = (
    text("calibration_parts",
         "Expected loss of calibration text that no step was fitted on, nats per token above the "
         "float model's: before, and after each step that was kept on chip seed 0.",
         _parts, IDENTITY, GIVEN),
    count("calibration_pass_tokens", "token", "Tokens of text sent through chip seed 0 to fit and "
          "to accept steps, passes counted each.", calibrating(_pass_tokens), IDENTITY),
    number("calibration_all_energy_nj", "nJ", f"Energy of calibrating a chip. {_COST}.",
           calibrating(_energy_nj), IDENTITY, better="lower"),
    number("calibration_all_time_us", "us", f"Time of calibrating a chip. {_COST}.",
           calibrating(_time_us), IDENTITY, better="lower"),
    number("calibration_energy_per_token_nj", "nJ",
           f"The energy of calibrating shared out {_LIFE}.",
           calibrating(lambda m: _energy_nj(m) / _served(m)), IDENTITY, better="lower"),
    number("calibration_time_per_token_us", "us", f"The time of calibrating shared out {_LIFE}.",
           calibrating(lambda m: _time_us(m) / _served(m)), IDENTITY, better="lower"),
    number("calibration_writes_per_token", "1", f"Cells that it writes, shared out {_LIFE}.",
           calibrating(lambda m: m.calibration.cells / _served(m)), IDENTITY, better="lower"),
    number("ppl_calibrated_worst", "1", "Perplexity of the worst chip after calibration.",
           _worst, better="lower", minimum=1.0),
    number("ppl_calibrated_chips_and_text_low", "1",
           f"Lower end of the {_CI} of calibrated perplexity over chips and scored windows, both "
           "drawn anew.", _both_ways("low"), TOO_FEW, minimum=1.0),
    number("ppl_calibrated_chips_and_text_high", "1", f"Upper end of that {_CI}.",
           _both_ways("high"), TOO_FEW, minimum=1.0),
    number("yield", "1", "Share of chips whose calibrated perplexity is within "
           "run.perplexity_limit of the float model's.",
           lambda m: _yield(m).mean, better="higher", maximum=1.0),
    number("yield_ci_low", "1", f"Lower end of the {_CI} of the yield (Wilson).",
           lambda m: _yield(m).low, maximum=1.0),
    number("yield_ci_high", "1", f"Upper end of the {_CI} of the yield.",
           lambda m: _yield(m).high, maximum=1.0),
)  # fmt: skip
