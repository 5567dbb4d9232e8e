"""Text as documents and windows of tokens, and the figures of merit of its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.elementary import exp, log
from cimsim.elementary_arrays import log_of
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "bits_per_byte",
    "cut_windows",
    "perplexity",
    "predicted_bytes",
    "split_documents",
    "unigram_perplexity",
]

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def split_documents(text: str) -> list[str]:
    """Return the documents of a text; empty lines separate them."""
    return [document for document in text.split("\n\n") if document.strip()]


def cut_windows(ids: NDArray[np.int64], context: int) -> NDArray[np.int64]:
    """Return whole windows that do not overlap, int64 [windows, context].

    Tokens after the last whole window are left out.

    Args:
        ids: int64 [n] token ids.
        context: tokens a window, at least 2 so that one is predicted.

    Raises:
        CimsimError: if the text is shorter than one window.
    """
    count = len(ids) // context
    if context < 2 or count < 1:
        raise CimsimError(
            "the text is shorter than one window of two tokens or more",
            value=f"{len(ids)} tokens",
            allowed=f"at least {max(context, 2)}",
        )
    return ids[: count * context].reshape(count, context)


def perplexity(nll: NDArray[np.float64]) -> float:
    """Return exp of the mean negative log likelihood (nats a token)."""
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


def bits_per_byte(nll: NDArray[np.float64], n_bytes: int) -> float:
    """Return the summed negative log likelihood in bits over the bytes predicted.

    Args:
        nll: nats, one value a predicted token.
        n_bytes: UTF-8 bytes of the predicted tokens, from `predicted_bytes`.
    """
    return float(nll.sum()) / log(2.0) / n_bytes


def predicted_bytes(tokenizer: Tokenizer, windows: NDArray[np.int64]) -> int:
    """Return the UTF-8 bytes of the predicted tokens: all but the first of each window.

    Tokens of a byte-level vocabulary are written with one character a byte. For other
    vocabularies the decoded text is counted, where a character cut by a window's edge
    counts as one byte.

    Args:
        tokenizer: the tokenizer that made the windows.
        windows: int64 [windows, context].
    """
    predicted = windows[:, 1:]
    if type(tokenizer.decoder).__name__ == "ByteLevel":
        ids, counts = np.unique(predicted, return_counts=True)
        lengths = [len(tokenizer.id_to_token(int(i)) or "") for i in ids]
        return int(np.dot(lengths, counts))
    texts = tokenizer.decode_batch(predicted.tolist(), skip_special_tokens=False)
    return sum(len(text.replace(_REPLACEMENT, "?").encode()) for text in texts)
