"""Peak figures of a chip without a model: every crossbar full and busy all the time.

One synthetic matrix fills one crossbar; every crossbar multiplies one vector an interval.
Inputs come from the tile buffer and results return to it; nothing crosses the network.
Energy is charged by the same ledger as a run's, from the same counted actions.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip import ChipMesh, Unit, UnitKey, build_mesh, tile_matrix
from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig
from cimsim.cost.counts import ActionCounts, Density
from cimsim.cost.ledger import Ledger
from cimsim.cost.model import CostModel
from cimsim.cost.timing import VisitTiming, pipeline_depth
from cimsim.errors import CimsimError
from cimsim.units import FJ_PER_PJ, OPS_PER_MAC, PS_PER_NS, period_ps
from cimsim.workload.program import Matrix, MatrixId

__all__ = ["Peak", "peak"]


@dataclass(frozen=True)
class Peak:
    """Peak figures of one chip.

    Attributes:
        config: the chip.
        cost: its prices.
        ledger: energy of one interval of the whole chip.
        timing: closed form of one full crossbar.
        depth: stages from tile buffer to tile buffer.
        macs: MACs of one interval of the whole chip.
        conversions: ADC samples of one interval of the whole chip.
    """

    config: ChipConfig
    cost: CostModel
    ledger: Ledger
    timing: VisitTiming
    depth: int
    macs: int
    conversions: int

    @property
    def tops(self) -> float:
        """Peak throughput in TOPS at the chip's weight and input bits; 1 MAC = 2 operations."""
        return OPS_PER_MAC * self.macs / self.timing.interval_ps

    @property
    def power_w(self) -> float:
        """Power at peak, off-chip interfaces included."""
        # fJ / ps = mW.
        return self.ledger.total_fj() / self.timing.interval_ps * 1e-3

    @property
    def tops_per_w(self) -> float:
        """Peak efficiency, everything in the ledger included."""
        return OPS_PER_MAC * self.macs / (self.ledger.total_fj() / FJ_PER_PJ)

    @property
    def area_mm2(self) -> float:
        """On-chip area."""
        return self.cost.area_mm2()

    @property
    def tops_per_mm2(self) -> float:
        """Peak throughput over area."""
        return self.tops / self.area_mm2

    def power_mw(self, *components: str) -> float:
        """Return the power of some components of the whole chip."""
        energy = sum(self.ledger.total_fj(component=c) for c in components)
        return energy / self.timing.interval_ps

    def areas_mm2(self, *components: str) -> float:
        """Return the area of some components of the whole chip."""
        return sum(row.mm2 or 0.0 for row in self.cost.area() if row.component in components)


def peak(config: ChipConfig, density: Density | None = None) -> Peak:
    """Return the peak figures of a chip with a stated number of tiles.

    Args:
        config: the chip; `chip.tiles` must be a number.
        density: bit and level densities; None takes the documented default.

    A chip with nothing on crossbars is its digital units, every MAC of which is busy; their
    operands are taken from local registers.

    Raises:
        CimsimError: if the chip has no size of its own.
    """
    if not config.chip.analog_parts:
        return _digital_peak(config)
    if config.chip.tiles == "fit":
        raise CimsimError(
            "a chip that fits its model has no peak figures of its own",
            key="chip.tiles",
            value="fit",
            allowed="a number of tiles",
            hint="see arch_configs/published, or --set chip.tiles=N",
        )
    crossbars = int(config.chip.tiles) * config.tile.crossbars
    mesh = build_mesh(config, crossbars)
    unit = _full_crossbar(config)
    cost = CostModel(config, mesh, None, units=(unit,))
    timing = cost.visit_timing(unit)
    counts = _counts(config, mesh, unit, crossbars, timing)
    ledger = Ledger()
    cost.charge(
        ledger,
        counts,
        None if density is None else {unit.key: density},
        mapped_tiles=mesh.n_tiles,
    )
    return Peak(
        config=config,
        cost=cost,
        ledger=ledger,
        timing=timing,
        depth=pipeline_depth(config, unit.tilings[0]),
        macs=crossbars * unit.tilings[0].matrix.size,
        conversions=crossbars * cost.conversions(unit.key),
    )


def _digital_peak(config: ChipConfig) -> Peak:
    """Return the peak figures of a chip that is digital units alone."""
    mesh = build_mesh(config, 1)
    cost = CostModel(config, mesh, None)
    interval = period_ps(config.digital.clock_ghz)
    macs = config.digital.units * config.digital.macs_per_cycle
    counts = ActionCounts(
        phase="peak",
        tokens=0,
        makespan_ps=interval,
        digital_macs={"linear": macs},
        busy_ps={"digital": mesh.n_digital * interval},
    )
    ledger = Ledger()
    cost.charge(ledger, counts, None, mapped_tiles=0)
    return Peak(config, cost, ledger, VisitTiming(0, interval), 1, macs, 0)


def _full_crossbar(config: ChipConfig) -> Unit:
    """Return a unit of one matrix that fills one crossbar."""
    columns = column_layout(config.tile).weights_per_crossbar
    matrix = Matrix(MatrixId(0, "dense_up"), config.tile.crossbar.rows, columns)
    return Unit(UnitKey(0, "shared"), (tile_matrix(matrix, config.tile),))


def _counts(
    config: ChipConfig, mesh: ChipMesh, unit: Unit, crossbars: int, timing: VisitTiming
) -> ActionCounts:
    matrix = unit.tilings[0].matrix
    return ActionCounts(
        phase="peak",
        tokens=0,
        makespan_ps=timing.interval_ps,
        unit_vectors={unit.key: crossbars},
        buffer_read_bits=crossbars * matrix.n_in * config.tile.input.bits,
        buffer_write_bits=crossbars * matrix.n_out * config.tile.input.bits,
        busy_ps={"tile": mesh.n_tiles * timing.interval_ps},
    )


def power_rows(found: Peak) -> tuple[tuple[str, float, float, str], ...]:
    """Return (component, mW, share, source) of a chip at peak, largest first."""
    total = found.ledger.total_fj()
    sources = {row.component: row.source for row in found.ledger}
    rows = [
        (name, energy / found.timing.interval_ps, energy / total, sources[name])
        for name, energy in found.ledger.by_component().items()
    ]
    return tuple(sorted(rows, key=lambda row: -row[1]))


def interval_ns(found: Peak) -> float:
    """Return the time between two vectors of one crossbar."""
    return found.timing.interval_ps / PS_PER_NS
