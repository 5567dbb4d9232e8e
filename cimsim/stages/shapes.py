"""Shapes of full-size models: bundled ones, and any config.json of a known family."""

from __future__ import annotations

from pathlib import Path

from cimsim.errors import CimsimError, nearest
from cimsim.model import read_shape
from cimsim.text_file import is_file, read_text_file
from cimsim.workload.program import Program
from cimsim.workload.shapes import SHAPES, DecoderShape, build_shape

__all__ = ["identity_of", "open_shape"]


def open_shape(name: str) -> Program:
    """Return the program of a bundled shape, or of the decoder that a config.json describes.

    Args:
        name: of a shape, or the path of a config.json; no weights are read.

    Raises:
        CimsimError: if it is neither, or the file is of no known family.
    """
    if name in SHAPES:
        return build_shape(SHAPES[name])
    if not is_file(Path(name)):
        raise CimsimError(
            "is neither a known model shape nor a config.json",
            key="workload.shape",
            value=name,
            allowed=f"{', '.join(SHAPES)}, or the path of a config.json",
            hint=nearest(name, SHAPES),
        )
    return read_shape(Path(name))


def identity_of(name: str) -> DecoderShape | str:
    """Return what a shape is made of: its dimensions, or the text of its file."""
    if name in SHAPES:
        return SHAPES[name]
    return read_text_file(Path(name), "JSON file")
