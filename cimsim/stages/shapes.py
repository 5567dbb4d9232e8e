"""Shapes of full-size models: bundled ones, shape files, any config.json of a known family."""

from __future__ import annotations

from pathlib import Path

from cimsim.config.shape_file import bundled_shapes, is_shape, load_shape
from cimsim.errors import CimsimError, nearest
from cimsim.model import read_shape
from cimsim.text_file import is_file, read_text_file
from cimsim.workload.described import described_program
from cimsim.workload.program import Program
from cimsim.workload.shapes import SHAPES, DecoderShape, build_shape

__all__ = ["identity_of", "is_shape_name", "open_shape"]


def open_shape(name: str) -> Program:
    """Return the program of a bundled shape, of a shape file, or of a decoder's config.json.

    Args:
        name: of a shape, or the path of a shape file or config.json; no weights are read.

    Raises:
        CimsimError: if it is none of them, or the config.json is of no known family.
    """
    if name in SHAPES:
        return build_shape(SHAPES[name])
    bundled = bundled_shapes()
    path = bundled.get(name, Path(name))
    if not is_file(path):
        names = (*SHAPES, *bundled)
        raise CimsimError(
            "is neither a known model shape nor a shape file or config.json",
            key="workload.shape",
            value=name,
            allowed=f"{', '.join(names)}, or the path of a shape file or config.json",
            hint=nearest(name, names),
        )
    if path.suffix == ".json":
        return read_shape(path)
    return described_program(load_shape(path))


def is_shape_name(name: str) -> bool:
    """Whether a name is that of a bundled shape, or a file that is a shape."""
    path = Path(name)
    if is_file(path):
        return path.suffix in {".yaml", ".yml"} and is_shape(path)
    return name in SHAPES or name in bundled_shapes()


def identity_of(name: str) -> DecoderShape | str:
    """Return what a shape is made of: its dimensions, or the text of its file."""
    if name in SHAPES:
        return SHAPES[name]
    return read_text_file(bundled_shapes().get(name, Path(name)), "shape file")
