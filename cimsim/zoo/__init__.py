"""Bundled trained models and texts.

The checkpoints are ordinary Hugging Face folders beside this file; the texts are excerpts of
freely redistributable documentation (``text/README.md``). The scripts that trained the models
are in this package too and are the only ones that need torch; nothing here imports them.
"""

from __future__ import annotations

import lzma
from importlib.resources import files
from pathlib import Path

from cimsim.errors import CimsimError, nearest

__all__ = ["bundled_models", "calibration_text", "fresh_text", "heldout_text", "model_folder"]

_MODELS = ("olmoe-tiny", "qwen-moe-tiny", "deepseek-moe-tiny")


def bundled_models() -> tuple[str, ...]:
    """Names of the trained models that come with the package, the default one first."""
    return _MODELS


def model_folder(name: str) -> Path:
    """Folder of a bundled model.

    Args:
        name: One of `bundled_models`.

    Returns:
        A folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.

    Raises:
        CimsimError: If no bundled model has that name.
    """
    if name not in _MODELS:
        raise CimsimError(
            "no bundled model has this name",
            value=name,
            allowed=", ".join(_MODELS),
            hint=nearest(name, _MODELS),
        )
    return Path(str(files(__name__))) / name


def calibration_text() -> str:
    """Text for post-training calibration, 0.57 MB; documents are separated by empty lines."""
    return _text("calibration")


def heldout_text() -> str:
    """Text for evaluation, 0.57 MB, never trained or calibrated on; documents as above.

    Tokens 0 to 40,959 are the development split, those after them the test split.
    """
    return _text("heldout")


def fresh_text() -> str:
    """Text for evaluation that no split of ours has used before, 0.58 MB; documents as above."""
    return _text("fresh")


def _text(name: str) -> str:
    packed = files(__name__).joinpath("text", f"{name}.txt.xz").read_bytes()
    return lzma.decompress(packed).decode("utf-8")
