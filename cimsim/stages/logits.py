"""Logits of a model on one chip, beside those of the clean model: a look at the numbers.

The products are those that a run scores: equal ranges, cells and addresses of noise, so that the
losses of these logits are the losses of the run (trace mode; a run whose numbers depend on time is
refused).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.cache import NO_CACHE, Stages
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.stages.coupling import choose_mode
from cimsim.stages.models import Texts
from cimsim.stages.opened import Opened
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import ModelOnText, open_subject

__all__ = ["LogitsOnChip", "logits_on_chip"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LogitsOnChip:
    """What the model says about every position of the text.

    Attributes:
        tokens: int64 [windows, context].
        clean: logits of the float model, float32 [windows, context, vocab].
        noisy: logits on the chip, float32 [windows, context, vocab].
        experts: experts that the chip chose, int16 [windows * context, moe_layers, k].
    """

    tokens: NDArray[np.int64]
    clean: Floats
    noisy: Floats
    experts: NDArray[np.int16]


def logits_on_chip(
    config: ChipConfig, model: str, texts: Texts, chip_seed: int = 0, stages: Stages = NO_CACHE
) -> LogitsOnChip:
    """Return logits of the text on one chip seed, before calibration.

    Args:
        config: the chip; `workload.tokens` of the text are read, or all if there are fewer.
        model: bundled name or checkpoint folder.
        texts: what is read, and text for converter ranges.
        chip_seed: which draw of the frozen randomness.
        stages: computes stages, or finds what they gave before.

    Raises:
        CimsimError: if chip, model and text do not go together, or numbers of this chip depend
            on time.
    """
    if chip_seed < 0:
        raise CimsimError("is no chip", key="chip_seed", value=chip_seed, allowed="0 or more")
    # Calibration text sets ranges as in a run; the text itself may be shorter than a window.
    subject = open_subject(model, replace(texts, scored=texts.calibration), config, Opened(stages))
    windows = _windows(subject, texts, config)
    chip = place_chip(config, subject.program, subject.expected)
    if choose_mode(config, chip.placement) == "coupled":
        raise CimsimError(
            "numbers of this chip depend on time",
            key="run.coupling",
            value="coupled",
            hint="cimsim run computes them while time passes; a chip that holds all experts "
            "does not need it",
        )
    deployed = ProgrammedChip.program(
        config.tile,
        config.technology.temperature_c,
        subject.checkpoint,
        chip.copies,
        find_ranges(config, subject, chip.copies),
        subject.digital,
        chip_seed,
        subject.compute,
    )
    linear = deployed.linear(read_seed=config.run.seed, mode=config.run.tile_mode)
    sequences = np.arange(len(windows), dtype=np.int64)
    noisy = subject.decoder.forward(windows, linear, sequences=sequences)
    clean = subject.decoder.forward(windows, subject.digital, sequences=sequences)
    return LogitsOnChip(windows, clean.logits, noisy.logits, noisy.experts)


def _windows(subject: ModelOnText, texts: Texts, config: ChipConfig) -> NDArray[np.int64]:
    """Return the text in windows; one that is shorter than a window is one of its own length."""
    checkpoint, context = subject.checkpoint, config.workload.context
    ids = checkpoint.encode(texts.scored)
    own = len(ids) + context - checkpoint.text_tokens(context)
    found = checkpoint.windows(
        ids, max(1, config.workload.tokens // context), max(1, min(context, own))
    )
    if not found.size:
        raise CimsimError("the text has no token", file=texts.scored_name, key="text")
    return found
