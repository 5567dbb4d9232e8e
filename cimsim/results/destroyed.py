"""When a model is called destroyed, and how it is told: it predicts as badly as counting tokens.

A unigram model knows how often each token occurs and nothing of what stands before it. A
chip whose perplexity is at or above that model's on the same tokens has lost all context;
how far above says nothing. Such a chip is in no finding, ranking or Pareto front.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["COSTLY_RANGE", "DESTROYED", "advice_of", "is_destroyed"]

DESTROYED, COSTLY_RANGE = "destroyed", "tile.adc.range"
"""How warnings begin that say what destroyed a chip, and that its converter range costs much."""


def advice_of(warnings: Sequence[str]) -> list[str]:
    """Return the warnings of a chip that say which knob to turn."""
    return [w for w in warnings if w.startswith((f"{DESTROYED} ", f"{COSTLY_RANGE} "))]


def is_destroyed(perplexity: float, unigram: float) -> bool:
    """Return whether a model has lost all context.

    Args:
        perplexity: of the model on the scored tokens.
        unigram: of a unigram model of the calibration text on the same tokens.
    """
    return perplexity >= unigram
