"""When a model is called destroyed: it predicts no better than counting tokens does.

A unigram model knows how often each token occurs and nothing of what stands before it. A
chip whose perplexity is at or above that model's on the same tokens has lost all context;
how far above says nothing. Such a chip is in no finding, ranking or Pareto front.
"""

from __future__ import annotations

__all__ = ["is_destroyed"]


def is_destroyed(perplexity: float, unigram: float) -> bool:
    """Return whether a model has lost all context.

    Args:
        perplexity: of the model on the scored tokens.
        unigram: of a unigram model of the calibration text on the same tokens.
    """
    return perplexity >= unigram
