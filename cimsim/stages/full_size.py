"""Time, energy and area of a chip at a full-size shape, without scoring any text.

The row is that of scale.csv for decode at the chip's largest `run.decode_batch`, from the same
fitted chip and the same engine. What a run measures on a tiny model is assumed here: experts are
chosen by a Zipf law of a given exponent, and energy is charged at the densities of `cost.*` or
their documented defaults. So area is exactly that of a run; time and energy are not.
"""

from __future__ import annotations

import numpy as np

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.results import Cell, Row
from cimsim.stages.columns.registry import extended
from cimsim.stages.columns.scale import SCALE, FullSize
from cimsim.stages.dies import count_dies
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.scale import (
    CONTEXT,
    FULL_SIZE,
    decode_window,
    fit_shape,
    left_out,
    mean_context,
    route_shape,
)
from cimsim.stages.shapes import open_shape
from cimsim.stages.timing import Replay, time_phase
from cimsim.workload.program import Program
from cimsim.workload.synthetic import zipf_popularity
from cimsim.workload.trace import RoutingTrace

__all__ = ["GEOMETRY", "fitted_phase", "full_size_geometry", "full_size_row"]

GEOMETRY = ("chips", "dies", "tiles", "area_mm2")
"""Columns that follow from the layout alone, before anything is timed."""
SHORT_STEPS = 4  # tokens per sequence: a point takes half a second, and states its error
VISITS = 1_000_000  # scale of the popularity, which the routing takes as counted visits


def full_size_geometry(config: ChipConfig) -> dict[str, Cell]:
    """Return the columns of `GEOMETRY`.

    Raises:
        CimsimError: if the chip's network does not grow to a full-size model.
    """
    chip, dies = _fitted(config)
    tiles = chip.mesh.n_tiles if chip.config.chip.analog_parts else 0
    area = chip.cost.area_mm2()
    return dict(zip(GEOMETRY, (chip.mesh.chips, dies, tiles, area), strict=True))


def full_size_row(config: ChipConfig, skew: float) -> Row:
    """Return the row of scale.csv of a chip alone.

    Args:
        config: the chip; its largest `run.decode_batch` is decoded, at full context.
        skew: Zipf exponent of the popularity of experts.

    Raises:
        CimsimError: if the chip's network does not grow to a full-size model.
    """
    return extended(SCALE).measure(fitted_phase(config, skew))


def fitted_phase(config: ChipConfig, skew: float) -> FullSize:
    """Time and charge a chip fitted to its shape; arguments and errors are those of above."""
    chip, dies = _fitted(config)
    batch = max(config.run.decode_batch)
    routed = _routing(chip.program, batch, skew)
    return FullSize(
        chip=chip,
        model=f"zipf {skew:g}",
        phase=time_phase(chip, Replay(routed), None, name="decode", batch=batch),
        context=CONTEXT,
        mean_context=mean_context(SHORT_STEPS),
        dies=dies,
    )


def _fitted(config: ChipConfig) -> tuple[PlacedChip, int]:
    """Return the chip fitted to its shape, and the dies that it takes."""
    if config.noc.kind not in FULL_SIZE:
        raise CimsimError(
            left_out(config)[0],
            key="noc.kind",
            value=config.noc.kind,
            allowed=", ".join(FULL_SIZE),
        )
    noc = config.noc.model_copy(update={"level": "packet"})
    chip = fit_shape(config.model_copy(update={"noc": noc}), open_shape(config.workload.shape))
    return chip, count_dies(chip.cost.area_mm2(), chip.mesh.chips)


def _routing(program: Program, batch: int, skew: float) -> RoutingTrace:
    """Return the routing of a batch that decodes the last tokens of a full context."""
    load = np.empty((len(program.moe_layers), program.n_experts))
    for layer in range(len(load)):
        load[layer] = zipf_popularity(program.n_experts, skew, 0, layer)
    return route_shape(program, VISITS * load, *decode_window(batch, SHORT_STEPS))
