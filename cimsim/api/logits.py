"""``cimsim.logits``: what a model says on a chip, token by token, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chip, load_chip
from cimsim.api.overrides import Overrides, set_texts
from cimsim.api.run_options import RunOptions
from cimsim.cache import NO_CACHE, open_cache
from cimsim.stages.kept import KEPT
from cimsim.stages.logits import logits_on_chip
from cimsim.stages.models import read_text

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Logits", "logits"]


@dataclass(frozen=True)
class Logits(CallResult):
    """Logits of a text on one chip, beside those of the clean model.

    Attributes:
        chip: name of the chip.
        chip_seed: which chip.
        tokens: int64 [windows, context].
        clean: logits of the float model, float32 [windows, context, vocab].
        noisy: logits on the chip, float32 [windows, context, vocab].
        experts: experts that the chip chose, int16 [windows * context, moe_layers, k].
    """

    chip: str
    chip_seed: int
    tokens: NDArray[np.int64]
    clean: NDArray[np.float32]
    noisy: NDArray[np.float32]
    experts: NDArray[np.int16]

    @property
    def title(self) -> str:
        """Chip and size."""
        return f"logits on {self.chip}, chip seed {self.chip_seed}: {self.noisy.shape}"

    def to_frame(self) -> DataFrame:
        """Return a row per position that predicts a token: both losses in nats, and the change.

        `logit_change_rms` is the root of the mean square over the vocabulary of noisy less
        clean logits.
        """
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        windows, context = self.tokens.shape
        change = (self.noisy - self.clean)[:, :-1].astype(np.float64)
        return DataFrame(
            {
                "window": np.repeat(np.arange(windows), context - 1),
                "position": np.tile(np.arange(context - 1), windows),
                "next_token": self.tokens[:, 1:].reshape(-1),
                "loss_clean_nats": _losses(self.clean, self.tokens),
                "loss_noisy_nats": _losses(self.noisy, self.tokens),
                "logit_change_rms": np.sqrt(np.square(change).mean(axis=-1)).reshape(-1),
            }
        )

    def shown(self) -> DataFrame:
        """Return the first positions."""
        return self.to_frame().head(10)


def _losses(logits: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -log p of every next token, nats, [windows * (context - 1)]."""
    said = logits[:, :-1].astype(np.float64)
    top = said.max(axis=-1, keepdims=True)
    total = np.log(np.exp(said - top).sum(axis=-1)) + top[..., 0]
    chosen = np.take_along_axis(said, tokens[:, 1:, None], axis=-1)[..., 0]
    found: NDArray[np.float64] = (total - chosen).reshape(-1)
    return found


def logits(
    chip: Chip,
    *,
    model: str | Path = "olmoe-tiny",
    text: str | Path | None = None,
    tokens: int | None = None,
    chip_seed: int = 0,
    overrides: Overrides | None = None,
) -> Logits:
    """Return the logits of a text on one chip, before calibration, and those of the clean model.

    Args:
        chip: name, file or loaded chip.
        model: bundled model or checkpoint folder.
        text: the text, or the `Path` of a file; None takes the bundled text.
        tokens: tokens of it, in whole windows; None as the chip says. A text that is shorter than
            a window is one window of its own length.
        chip_seed: which chip: a draw of all frozen errors.
        overrides: knobs, ``{"tile.device.sigma": 0.05}``.

    Raises:
        CimsimError: if chip, model and text do not go together, or numbers of this chip depend on
            time.
    """
    knobs = set_texts(overrides)
    config = load_chip(chip, knobs if tokens is None else (*knobs, f"workload.tokens={tokens}"))
    cache = RunOptions().cache
    stages = NO_CACHE if cache is None else open_cache(KEPT, cache)
    found = logits_on_chip(config, str(model), read_text(text), chip_seed, stages)
    return Logits(config.name, chip_seed, found.tokens, found.clean, found.noisy, found.experts)
