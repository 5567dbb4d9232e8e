"""The stage of the full-size model alone, on a small shape and a made-up routing."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np

from cimsim.cache import Stages
from cimsim.chip import UnitKey
from cimsim.config import ChipConfig
from cimsim.cost import Density
from cimsim.errors import CimsimError
from cimsim.results import Row
from cimsim.stages.scale import scale_rows
from cimsim.workload.shapes import SHAPES
from cimsim.workload.trace import RoutingTrace
from tests.small_shape import NAME, SMALL_SHAPE

LOAD = RoutingTrace(
    np.array([[[0, 1]], [[0, 2]], [[0, 1]]], dtype=np.int16), np.zeros(3, np.int64), np.arange(3), 4
)
DENSITY = {UnitKey(0, "experts", 0): Density(0.3, 0.4)}


def full_size(config: ChipConfig, stages: Stages, threads: int = 1) -> tuple[Row, ...] | str:
    """Return the rows, or why there are none."""
    stage = stages.watch(config=config)
    chip = stage.views["config"]
    with patch.dict(SHAPES, {NAME: SMALL_SHAPE}):
        try:
            return stage.recall(
                "full size", {}, lambda: scale_rows(chip, "m", LOAD, DENSITY, threads)
            )
        except CimsimError as error:
            return error.sentence()
