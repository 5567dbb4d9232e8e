"""What a refused checkpoint's folder is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.errors import CimsimError
from cimsim.model import load_checkpoint


def refusal(folder: Path) -> str:
    """Load a folder that must be refused with exit code 2; return the one sentence."""
    with pytest.raises(CimsimError) as caught:
        load_checkpoint(folder)
    assert caught.value.exit_code == 2
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence
