"""The only reader of scored text: TEST, and fresh text that no other split is from.

TEST follows the development split of the held-out text.

No calibrator imports this module or anything that holds what it returns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint
from cimsim.zoo import fresh_text, heldout_text

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["DEVELOPMENT_TOKENS", "fresh_windows", "other_documents", "test_windows"]

DEVELOPMENT_TOKENS = 40_960


def test_windows(checkpoint: Checkpoint, tokens: int, context: int) -> NDArray[np.int64]:
    """Return the first windows of TEST text, int64 [windows, context].

    Raises:
        CimsimError: if TEST is shorter than that.
    """
    ids = _encoded(checkpoint).ids
    count = tokens // context
    part = ids[DEVELOPMENT_TOKENS : DEVELOPMENT_TOKENS + count * context]
    if not count or len(part) < count * context:
        raise CimsimError(
            f"TEST text has {len(ids) - DEVELOPMENT_TOKENS} tokens",
            key="test_tokens",
            value=tokens,
        )
    return np.asarray(part, dtype=np.int64).reshape(count, context)


def fresh_windows(checkpoint: Checkpoint, tokens: int, context: int) -> NDArray[np.int64]:
    """Return fresh text, int64 [windows, context]; arguments are those of `test_windows`.

    Raises:
        CimsimError: if it is shorter than that.
    """
    ids = checkpoint.tokenizer.encode(fresh_text(), add_special_tokens=False).ids
    count = tokens // context
    if not count or len(ids) < count * context:
        raise CimsimError(f"the fresh text has {len(ids)} tokens", key="test_tokens", value=tokens)
    return np.asarray(ids[: count * context], dtype=np.int64).reshape(count, context)


def other_documents(
    checkpoint: Checkpoint, windows: int, context: int, words: str
) -> NDArray[np.bool_]:
    """Return which windows of TEST text touch no document with some words, [windows].

    Args:
        checkpoint: whose tokenizer is used.
        windows: how many windows of TEST text.
        context: window length.
        words: regular expression; documents are what empty lines separate.
    """
    text = heldout_text()
    marked = np.zeros(len(text), dtype=np.bool_)
    start = 0
    for document in text.split("\n\n"):
        stop = start + len(document)
        marked[start:stop] = re.search(words, document) is not None
        start = stop + 2
    offsets = np.asarray(_encoded(checkpoint).offsets, dtype=np.int64)
    stop = DEVELOPMENT_TOKENS + windows * context
    first = np.minimum(offsets[DEVELOPMENT_TOKENS:stop, 0], len(text) - 1)
    found = marked[first].reshape(windows, context)
    return np.asarray(~found.any(axis=1))


def _encoded(checkpoint: Checkpoint) -> Encoding:
    return checkpoint.tokenizer.encode(heldout_text(), add_special_tokens=False)


test_windows.__test__ = False  # type: ignore[attr-defined]
