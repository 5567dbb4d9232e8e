"""Tables of what results.csv takes a mean of: layers, chip seeds, resources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cimsim.model.text import perplexity
from cimsim.results.column import Column, Empty, count, number, reasons_column, text
from cimsim.results.statistics import gini, load_cv, total_variation
from cimsim.results.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cimsim.chip import Unit
    from cimsim.engine import Resource
    from cimsim.mac.statistics import MatrixCounts
    from cimsim.stages.measured import ChipMeasurement, Side
    from cimsim.workload.program import Layer

    Figure = Callable[[Side], list[NDArray[np.float64]]]

__all__ = ["PER_LAYER", "PER_SEED", "RESOURCES", "LayerOf", "ResourceOf", "SeedOf"]

NO_ROUTER = Empty("no router")
NO_CONVERSIONS = Empty("no conversions")
NO_LINK = Empty("no link of a mesh")


@dataclass(frozen=True)
class _Part:
    """Something of one chip and model.

    Attributes:
        measured: the chip and model.
    """

    measured: ChipMeasurement


@dataclass(frozen=True)
class LayerOf(_Part):
    """A decoder layer, or the head.

    Attributes:
        layer: what it is.
        block: moe, dense or head.
    """

    layer: Layer
    block: str

    @cached_property
    def units(self) -> list[tuple[Unit, int]]:
        """What of it is on crossbars, with the number of copies."""
        placement = self.measured.chip.placement
        mine = [u for key, u in placement.units.items() if key.layer == self.layer.index]
        return [(unit, len(placement.seats_of.get(unit.key, ())) or 1) for unit in mine]

    @cached_property
    def conversions(self) -> int:
        """ADC samples of the noisy pass of chip seed 0."""
        return sum(c.conversions for c in self._counts())

    @property
    def clipped(self) -> int:
        """Those that hit the end of the range."""
        return sum(c.clipped for c in self._counts())

    def _counts(self) -> list[MatrixCounts]:
        statistics = self.measured.accuracy.seeds[0].statistics
        return [counts for matrix, counts in statistics if matrix.layer == self.layer.index]

    def routing(self, side: Side, figure: Figure) -> float | None:
        """Return a figure of its routing, mean over chip seeds; None without a router.

        Args:
            side: before or after calibration.
            figure: [MoE layers] of every chip seed.
        """
        if not self.layer.is_moe:
            return None
        found = np.mean(figure(side), axis=0)
        return float(found[self.measured.chip.program.moe_layers.index(self.layer.index)])


def _both(
    name: str, meaning: str, figure: Figure, maximum: float | None = None
) -> tuple[Column[LayerOf], Column[LayerOf]]:
    """Declare a figure of routing on the chip, and after calibration."""
    return (
        number(name, "1", meaning,
               lambda s: s.routing(s.measured.noisy, figure), NO_ROUTER, maximum=maximum),
        number(f"{name}_calibrated", "1", "The same after calibration.",
               lambda s: s.routing(s.measured.calibrated, figure), NO_ROUTER, maximum=maximum),
    )  # fmt: skip


def _shift(side: Side) -> list[NDArray[np.float64]]:
    clean = side.clean.trace.load()
    return [total_variation(clean, load) for load in side.loads]


PER_LAYER: Table[LayerOf] = Table(
    "per_layer",
    "One row per chip, model and decoder layer; the head is the last layer.",
    (
        text("config", "Name of the chip.", lambda s: s.measured.config.name),
        text("model", "Name of the checkpoint.", lambda s: s.measured.chip.program.name),
        count("layer", "1", "Decoder layer, 0-based; the head has the number of layers.",
              lambda s: s.layer.index),
        text("block", "moe, dense or head.", lambda s: s.block),
        count("experts", "1", "Routed experts; 0 without a router.",
              lambda s: len(s.layer.experts)),
        count("top_k", "1", "Experts chosen per token; 0 without a router.",
              lambda s: s.layer.top_k),
        number("macs_per_token", "1", "Linear multiply-accumulates per token, active experts.",
               lambda s: float(s.layer.active_macs())),
        count("crossbars", "1", "Crossbars of the layer, copies included.",
              lambda s: sum(unit.crossbars * copies for unit, copies in s.units)),
        count("cells", "1", "Cells that hold a weight, copies included.",
              lambda s: sum(unit.cells * copies for unit, copies in s.units)),
        number("conversions_per_token", "1", "ADC conversions per token, detailed tile.",
               lambda s: s.conversions / s.measured.tokens if s.conversions else None,
               NO_CONVERSIONS),
        number("adc_clip_rate", "1", "Share of conversions at the end of the range.",
               lambda s: s.clipped / s.conversions if s.conversions else None, NO_CONVERSIONS,
               maximum=1.0),
        *_both(
            "topk_agreement",
            "Share of clean expert choices kept on the chip.",
            lambda side: side.agreement,
            1.0,
        ),
        number(
            "expert_load_cv_clean",
            "1",
            "Load: std over mean, float model.",
            lambda s: s.routing(s.measured.noisy, lambda side: [load_cv(side.clean.trace.load())]),
            NO_ROUTER,
        ),
        *_both(
            "expert_load_cv",
            "Load: std over mean, on the chip.",
            lambda side: [load_cv(x) for x in side.loads],
        ),
        *_both(
            "expert_load_gini",
            "Load: Gini coefficient, on the chip.",
            lambda side: [gini(x) for x in side.loads],
            1.0,
        ),
        *_both(
            "expert_load_shift",
            "Total variation between the loads of the float model and the chip.",
            _shift,
            1.0,
        ),
        reasons_column(),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class SeedOf(_Part):
    """One chip seed.

    Attributes:
        index: which draw of the frozen errors.
    """

    index: int

    def agreement(self, side: Side) -> float:
        """Return the share of clean expert choices kept, mean over MoE layers."""
        return float(side.agreement[self.index].mean())

    def load_cv(self, side: Side) -> float:
        """Return std over mean of the load of experts, mean over MoE layers."""
        return float(load_cv(side.loads[self.index]).mean())


PER_SEED: Table[SeedOf] = Table(
    "per_seed",
    "One row per chip, model and chip seed: the samples behind means and intervals.",
    (
        text("config", "Name of the chip.", lambda s: s.measured.config.name),
        text("model", "Name of the checkpoint.", lambda s: s.measured.chip.program.name),
        count("chip_seed", "1", "Which draw of the frozen errors.", lambda s: s.index),
        number("ppl_noisy", "1", "Perplexity on this chip.",
               lambda s: perplexity(s.measured.noisy.scores[s.index].nll), minimum=1.0),
        number("ppl_calibrated", "1", "After calibration.",
               lambda s: perplexity(s.measured.calibrated.scores[s.index].nll), minimum=1.0),
        number("topk_agreement", "1", "Share of clean expert choices kept.",
               lambda s: s.agreement(s.measured.noisy), maximum=1.0),
        number("topk_agreement_calibrated", "1", "After calibration.",
               lambda s: s.agreement(s.measured.calibrated), maximum=1.0),
        number("expert_load_cv", "1", "Load: std over mean, mean over MoE layers.",
               lambda s: s.load_cv(s.measured.noisy)),
        number("expert_load_cv_calibrated", "1", "After calibration.",
               lambda s: s.load_cv(s.measured.calibrated)),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class ResourceOf(_Part):
    """One resource in decode at the largest batch.

    Attributes:
        resource: what the engine measured.
    """

    resource: Resource


RESOURCES: Table[ResourceOf] = Table(
    "resources",
    "One row per chip, model and resource: how busy it is in decode at the largest batch.",
    (
        text("config", "Name of the chip.", lambda s: s.measured.config.name),
        text("model", "Name of the checkpoint.", lambda s: s.measured.chip.program.name),
        text("kind", "tile, digital unit, memory channels, link, injection, ejection (ports of the "
             "network) or chip link.",
             lambda s: s.resource.kind),
        text("resource", "Its name; idle ports and links are left out.", lambda s: s.resource.name),
        count("chip", "1", "Chip of the system that it is on; the sender of a chip link.",
              lambda s: s.resource.chip),
        Column("x", "1", "integer", "Column of its router; -1 where it has none.",
               lambda s: s.resource.x, minimum=-1),
        Column("y", "1", "integer", "Row of its router; -1 where it has none.",
               lambda s: s.resource.y, minimum=-1),
        text("direction", "Of a link: +x, -x, +y or -y.",
             lambda s: s.resource.direction or None, NO_LINK),
        number("utilisation", "1", "Busy time over the makespan.",
               lambda s: s.resource.utilisation, maximum=1.0),
    ),
)  # fmt: skip
