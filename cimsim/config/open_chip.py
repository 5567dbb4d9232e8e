"""A chip however it is given: by file, by bundled name, or loaded."""

from __future__ import annotations

from pathlib import Path

from cimsim.config.chip import ChipConfig
from cimsim.config.load import dump_yaml, find_chip, load_chip, parse_chip

__all__ = ["open_chip"]


def open_chip(chip: str | Path | ChipConfig, overrides: tuple[str, ...] = ()) -> ChipConfig:
    """Return a chip by file or bundled name, or one that is loaded, with overrides.

    Args:
        chip: file, name, or the chip itself.
        overrides: ``dotted.path=value`` strings that win over it.

    Raises:
        CimsimError: if there is no such chip, or it is not valid.
    """
    if not isinstance(chip, ChipConfig):
        return load_chip(find_chip(chip), overrides)
    return parse_chip(dump_yaml(chip), chip.name, overrides) if overrides else chip
