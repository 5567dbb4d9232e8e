"""The only reader of TEST text: what follows the development split of the held-out text.

No calibrator imports this module or anything that holds what it returns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint
from cimsim.zoo import heldout_text

__all__ = ["DEVELOPMENT_TOKENS", "test_windows"]

DEVELOPMENT_TOKENS = 40_960


def test_windows(checkpoint: Checkpoint, tokens: int, context: int) -> NDArray[np.int64]:
    """Return the first windows of TEST text, int64 [windows, context].

    Raises:
        CimsimError: if TEST is shorter than that.
    """
    ids = checkpoint.tokenizer.encode(heldout_text(), add_special_tokens=False).ids
    count = tokens // context
    part = ids[DEVELOPMENT_TOKENS : DEVELOPMENT_TOKENS + count * context]
    if not count or len(part) < count * context:
        raise CimsimError(
            f"TEST text has {len(ids) - DEVELOPMENT_TOKENS} tokens",
            key="test_tokens",
            value=tokens,
        )
    return np.asarray(part, dtype=np.int64).reshape(count, context)


test_windows.__test__ = False  # type: ignore[attr-defined]
