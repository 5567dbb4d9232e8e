"""Draws of the cost model's constants for chips of a comparison, from their resolved files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cimsim.config.load import parse_chip
from cimsim.errors import CimsimError
from cimsim.stages.contenders import Contender
from cimsim.stages.cost_spread import Spread, spread_of
from cimsim.stages.scale import fit_shape
from cimsim.stages.shapes import open_shape
from cimsim.text_file import read_text_file

__all__ = ["read_chips", "spreads_of"]


def read_chips(folder: Path) -> dict[str, str]:
    """Return the resolved chip files of a run by the name of the chip.

    Raises:
        CimsimError: if one cannot be read.
    """
    found = {}
    for path in sorted(folder.glob("chips/*/config.resolved.yaml")):
        text = read_text_file(path, "chip file")
        found[parse_chip(text, str(path)).name] = text
    return found


def spreads_of(chips: Sequence[Contender], files: Mapping[str, str]) -> dict[str, Spread]:
    """Return the draws of every chip.

    Args:
        chips: that are compared.
        files: resolved chip files by name.

    Raises:
        CimsimError: if a chip has no file, or its shape is not known.
    """
    found = {}
    for chip in chips:
        if chip.name not in files:
            raise CimsimError("the run holds no resolved file of this chip", value=chip.name)
        config = parse_chip(files[chip.name], chip.name)
        noc = config.noc.model_copy(update={"level": "packet"})
        program = open_shape(config.workload.shape)
        cost = fit_shape(config.model_copy(update={"noc": noc}), program).cost
        found[chip.name] = spread_of(cost, chip.scale, str(chip.scale["critical_resource"]))
    return found
