"""How a deployed model is calibrated after it was trained."""

from __future__ import annotations

from typing import Literal

from cimsim.config.bounds import FACTOR, HOURS, LIFE_TOKENS, TOKENS
from cimsim.config.section import Section, knob

__all__ = ["Calibration"]


class Calibration(Section):
    """Post-training calibration of the deployed model."""

    method: str = knob("romer_plus", "Calibrator registered in romer; identity switches it off.")
    tokens: int = knob(4096, "Calibration tokens.", unit="token", within=TOKENS, ge=256)
    inputs: Literal["as_trained", "smooth", "rotate"] = knob(
        "as_trained",
        "Form in which the model is written: as it is; with input channels scaled so that outliers "
        "go into weights (SmoothQuant); or with the residual stream rotated by Hadamard blocks "
        "(QuaRot). Both are folded into weights and gains and cost nothing at inference.",
    )
    min_gain_nats: float = knob(
        1e-3,
        "Least decrease of the loss per token, on calibration documents that it was not fitted "
        "on, for which a calibration step is kept; it must be two standard errors besides.",
        unit="nat",
        ge=0,
        within=FACTOR,
    )
    accept_mode: Literal["folded", "deployed"] = knob(
        "folded",
        "Tiles on which a step is accepted: folded ones, on which it is fitted, or those of "
        "`run.tile_mode`, which the scored text sees.",
        late=True,
    )
    accept_tokens: int | None = knob(
        None,
        "Tokens of documents that nothing is fitted on, on which a step is accepted. Left out: a "
        "fifth of `calibration.tokens`; more come from documents beside those.",
        unit="token",
        within=TOKENS,
        ge=512,
        late=True,
    )
    life_tokens: float = knob(
        1e9,
        "Tokens that a chip serves in its life, over which the cost of calibrating it is shared "
        "out (assumed: a year at 30 a second).",
        unit="token",
        within=LIFE_TOKENS,
        late=True,
    )
    interval_hours: float | None = knob(
        None,
        "Time after which a chip that drifts is calibrated anew, decoding at its largest batch all "
        "the while; null calibrates once in its life.",
        unit="h",
        within=HOURS,
        late=True,
    )
    shards: Literal["same", "own"] = knob(
        "same",
        "Text that chip seeds calibrate on: the same for all, or every one its own documents.",
        late=True,
    )
