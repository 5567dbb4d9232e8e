"""A chip by name or path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cimsim.api.overrides import Overrides, set_texts
from cimsim.config import ChipConfig
from cimsim.config.bundled import find_published
from cimsim.config.open_chip import open_chip

__all__ = ["Chip", "Chips", "chips_of", "load_chip"]

Chip = str | Path | ChipConfig
"""A chip file, the name of a bundled chip, or a chip that is loaded."""

Chips = Chip | Iterable[Chip]
"""One chip or several."""


def load_chip(chip: Chip, overrides: Overrides | None = None) -> ChipConfig:
    """Read and validate a chip.

    Args:
        chip: YAML file, name of a bundled or published chip, or a chip that is loaded.
        overrides: knobs to set, ``{"tile.adc.bits": 7}``.

    Returns:
        The frozen, validated chip; knobs are its attributes, such as ``chip.tile.adc.bits``.

    Raises:
        CimsimError: naming file, line, column, key, value and what is allowed.
    """
    found = chip if isinstance(chip, ChipConfig) else find_published(str(chip))
    return open_chip(found, set_texts(overrides))


def chips_of(chips: Chips) -> tuple[Chip, ...]:
    """Return one chip or several as a tuple."""
    return (chips,) if isinstance(chips, str | Path | ChipConfig) else tuple(chips)
