"""Text as documents, and the figures of merit of its scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.elementary import exp
from cimsim.elementary_arrays import log_of

__all__ = ["perplexity", "split_documents", "unigram_perplexity"]


def split_documents(text: str) -> list[str]:
    """Return the documents of a text; empty lines separate them."""
    return [document for document in text.split("\n\n") if document.strip()]


def perplexity(nll: NDArray[np.float64]) -> float:
    """Return exp of the mean negative log likelihood (nats per token)."""
    return exp(float(nll.mean()))


def unigram_perplexity(counts: NDArray[np.int64], windows: NDArray[np.int64]) -> float:
    """Return the perplexity of the predicted tokens of windows under a unigram model.

    With add-one (Laplace) smoothing, p(t) = (count(t) + 1) / (sum of counts + vocabulary).

    Args:
        counts: int64 [vocabulary], how often each token occurs in the text that it is fitted on.
        windows: int64 [windows, context], scored; the first token of each is not predicted.
    """
    smoothed = counts + 1.0
    return exp(-float(log_of(smoothed / smoothed.sum())[windows[:, 1:]].mean()))
