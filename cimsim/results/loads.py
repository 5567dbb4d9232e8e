"""How load and latency are spread: over tiles, over experts, over tokens.

Arrays stay arrays, for figures; the tables take a row of each entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Column, Empty, Row, count, flag, number, text
from cimsim.results.statistics import percentile
from cimsim.results.table import Table
from cimsim.units import PS_PER_US

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXPERT_LOAD", "LATENCY", "TILE_LOAD", "ExpertLoad", "LatencySamples", "TileLoad"]

SWITCHES = Empty("the chip switches experts")
PERCENTS = (0, 1, 2, *range(5, 100, 5), 98, 99, 100)


@dataclass(frozen=True)
class TileLoad:
    """Busy time of every tile in decode: sum over visits of vectors x interval.

    Attributes:
        places: column and row of the router of every tile, [tiles, 2].
        cells: column and row in which every tile is drawn, [tiles, 2].
        holds_weights: bool [tiles].
        noisy_ps: load with the routing of the chip, [tiles].
        calibrated_ps: load after calibration, [tiles].
        round_robin_ps: the routing of `noisy_ps` placed round-robin, [tiles], or None.
        round_robin_holds_weights: bool [tiles] of that placement; None stands for its tiles
            that did work.
    """

    places: NDArray[np.int64]
    cells: NDArray[np.int64]
    holds_weights: NDArray[np.bool_]
    noisy_ps: NDArray[np.int64]
    calibrated_ps: NDArray[np.int64]
    round_robin_ps: NDArray[np.int64] | None = None
    round_robin_holds_weights: NDArray[np.bool_] | None = None

    @staticmethod
    def max_over_mean(load_ps: NDArray[np.int64], holds_weights: NDArray[np.bool_]) -> float:
        """Return the largest over the mean load of tiles that hold a weight."""
        held = load_ps[holds_weights]
        if len(held) == 0 or held.sum() == 0:
            message = "tile load needs a tile that holds a weight and did work"
            raise CimsimInternalError(message)
        return float(held.max() / held.mean())

    def rows(self, config: str, model: str) -> list[Row]:
        """Return the rows of tile_load.csv."""
        return [
            TILE_LOAD.measure(_Tile(config, model, self, tile))
            for tile in range(len(self.noisy_ps))
        ]


@dataclass(frozen=True)
class _Tile:
    config: str
    model: str
    load: TileLoad
    tile: int

    @property
    def round_robin_us(self) -> float | None:
        robin = self.load.round_robin_ps
        return None if robin is None else robin[self.tile] / PS_PER_US


TILE_LOAD: Table[_Tile] = Table(
    "tile_load",
    "One row per chip, model and tile: busy time of its visits in decode.",
    (
        text("config", "Name of the chip.", lambda s: s.config),
        text("model", "Name of the checkpoint.", lambda s: s.model),
        count("tile", "1", "Tile number, row by row.", lambda s: s.tile),
        count("x", "1", "Column of its router on the mesh.", lambda s: s.load.places[s.tile, 0]),
        count("y", "1", "Row of its router on the mesh.", lambda s: s.load.places[s.tile, 1]),
        flag("holds_weights", "Whether the tile holds a weight.",
             lambda s: bool(s.load.holds_weights[s.tile])),
        number("load_us", "us", "Sum over visits of vectors x interval, on the chip.",
               lambda s: s.load.noisy_ps[s.tile] / PS_PER_US),
        number("load_us_calibrated", "us", "The same after calibration.",
               lambda s: s.load.calibrated_ps[s.tile] / PS_PER_US),
        number("load_us_round_robin", "us", "The same routing as load_us placed round-robin.",
               lambda s: s.round_robin_us, SWITCHES),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class ExpertLoad:
    """Tokens routed to every expert, summed over chip seeds.

    Attributes:
        layers: decoder layer of every row, [layers].
        clean: visits in the float model, [layers, experts].
        noisy: visits on the chip, [layers, experts].
        calibrated: visits after calibration, [layers, experts].
    """

    layers: tuple[int, ...]
    clean: NDArray[np.int64]
    noisy: NDArray[np.int64]
    calibrated: NDArray[np.int64]

    def rows(self, config: str, model: str) -> list[Row]:
        """Return the rows of expert_load.csv."""
        return [
            EXPERT_LOAD.measure(_Expert(config, model, self, index, expert))
            for index in range(len(self.layers))
            for expert in range(self.clean.shape[1])
        ]


@dataclass(frozen=True)
class _Expert:
    config: str
    model: str
    load: ExpertLoad
    index: int
    expert: int

    def share(self, visits: NDArray[np.int64]) -> float:
        of_layer = visits[self.index]
        return float(of_layer[self.expert] / max(int(of_layer.sum()), 1))


def _share(
    name: str, meaning: str, visits: Callable[[ExpertLoad], NDArray[np.int64]]
) -> Column[_Expert]:
    return number(name, "1", meaning, lambda s: s.share(visits(s.load)), maximum=1.0)


EXPERT_LOAD: Table[_Expert] = Table(
    "expert_load",
    "One row per chip, model, layer and expert: tokens routed to it, summed over chip seeds.",
    (
        text("config", "Name of the chip.", lambda s: s.config),
        text("model", "Name of the checkpoint.", lambda s: s.model),
        count("layer", "1", "Decoder layer.", lambda s: s.load.layers[s.index]),
        count("expert", "1", "Routed expert.", lambda s: s.expert),
        _share("share_clean", "Share of the layer's visits, float model.", lambda v: v.clean),
        _share("share_noisy", "On the chip.", lambda v: v.noisy),
        _share("share_calibrated", "After calibration.", lambda v: v.calibrated),
    ),
)


@dataclass(frozen=True)
class LatencySamples:
    """Latencies of one phase.

    Attributes:
        phase: prefill, or decode_b<batch>.
        stage: noisy or calibrated.
        latency_us: time of every token (of every window in prefill), [samples].
    """

    phase: str
    stage: Literal["noisy", "calibrated"]
    latency_us: NDArray[np.float64]

    def rows(self, config: str, model: str) -> list[Row]:
        """Return the rows of latency.csv: every percentile that the samples allow."""
        return [
            LATENCY.measure(_Percentile(config, model, self, percent, found))
            for percent in PERCENTS
            if (found := percentile(self.latency_us, percent)) is not None
        ]


@dataclass(frozen=True)
class _Percentile:
    config: str
    model: str
    samples: LatencySamples
    percent: int
    latency_us: float


LATENCY: Table[_Percentile] = Table(
    "latency",
    "One row per chip, model, phase, stage and percentile: distributions of latency.",
    (
        text("config", "Name of the chip.", lambda s: s.config),
        text("model", "Name of the checkpoint.", lambda s: s.model),
        text("phase", "prefill or decode_b<batch>.", lambda s: s.samples.phase),
        flag("calibrated", "Whether calibration was applied.",
             lambda s: s.samples.stage == "calibrated"),
        count("samples", "1", "Samples of the distribution.", lambda s: len(s.samples.latency_us)),
        number("percent", "%", "Percentile; above the 95th only with at least 100 samples.",
               lambda s: s.percent, maximum=100.0),
        number("latency_us", "us", "Time of a token (prefill: of a window) at it.",
               lambda s: s.latency_us),
    ),
)  # fmt: skip
