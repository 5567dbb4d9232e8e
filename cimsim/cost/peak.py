"""Peak figures of a chip without a model: every crossbar full and busy all the time.

One synthetic matrix fills the crossbars of one PE, side by side; every crossbar multiplies one
vector an interval, in which the ADCs of the PE convert for all of its crossbars. Inputs come
from the tile buffer and results return to it; nothing crosses the network. Energy is charged by
the same ledger as a run's, from the same counted actions.

No run multiplies more per second on its crossbars. What limits a run besides, the peak leaves out:
tile buffers, network, memory, `chip.power_limit_w`, and that a PE serves one visit at a time.
Digital units, which work beside crossbars, are not counted in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cimsim.chip import ChipMesh, Unit, UnitKey, build_mesh, tile_matrix
from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig, Tile
from cimsim.cost.counts import ActionCounts, Density
from cimsim.cost.density import charged_density, conversions_asked
from cimsim.cost.ledger import Ledger
from cimsim.cost.model import CostModel
from cimsim.cost.timing import VisitTiming, pipeline_depth, visit_timing
from cimsim.cost.without_effect import reads_density
from cimsim.errors import CimsimError
from cimsim.units import FJ_PER_PJ, OPS_PER_MAC, period_ps
from cimsim.workload.matrix import Matrix, MatrixId

__all__ = ["Peak", "peak"]


@dataclass(frozen=True)
class Peak:
    """Peak figures of one chip.

    Attributes:
        config: the chip.
        cost: its prices.
        ledger: energy of one interval of the whole chip.
        timing: closed form of one full PE.
        depth: stages from tile buffer to tile buffer.
        macs: MACs of one interval of all chips.
        conversions: ADC samples of one interval of all chips.
        density: at which energy is charged; None where it does not depend on the data.
    """

    config: ChipConfig
    cost: CostModel
    ledger: Ledger
    timing: VisitTiming
    depth: int
    macs: int
    conversions: int
    density: Density | None

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
    def notes(self) -> tuple[str, ...]:
        """Notes of the prices, and of what the peak is not held back by."""
        config, found = self.config, list(self.cost.notes)
        if not config.chip.analog_parts:
            return tuple(found)
        if config.chip.power_limit_w is not None:
            found.append("the peak does not heed chip.power_limit_w, which runs obey")
        moved = sum(row.count for row in self.ledger if row.component == "tile_bus")
        cycles = self.timing.interval_ps / period_ps(config.technology.clock_ghz)
        wanted = moved / self.cost.mesh.n_tiles / cycles
        if wanted > config.tile.buffers.bus_bits:
            found.append(
                f"the tile bus is taken to keep up: {wanted:.0f} bits per cycle at peak, with a "
                f"vector for each crossbar, over {config.tile.buffers.bus_bits} "
                "(tile.buffers.bus_bits)"
            )
        return tuple(found)

    @property
    def area_mm2(self) -> float:
        """On-chip area."""
        return self.cost.area_mm2()

    @property
    def w_per_mm2(self) -> float:
        """Power at peak over area."""
        return self.power_w / self.area_mm2

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
    """Return the peak figures of a chip with a stated number of tiles, of all chips of a system.

    Args:
        config: the chip; `chip.tiles`, of one chip, must be a number.
        density: bit and level densities that a run measured; None takes the chip file's, else
            the documented default.

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
    mesh = build_mesh(config, int(config.chip.tiles) * config.tile.crossbars)
    unit = _full_pe(config)
    cost = CostModel(config, mesh, None, units=(unit,))
    timing = cost.visit_timing(unit)
    pes, charged = mesh.n_tiles * config.tile.pes, charged_density(config, density)
    ledger = Ledger()
    cost.charge(
        ledger,
        _counts(config, mesh, unit, timing),
        None if density is None else {unit.key: density},
        mapped_tiles=mesh.n_tiles,
    )
    return Peak(
        config=config,
        cost=cost,
        ledger=ledger,
        timing=timing,
        depth=pipeline_depth(unit.tilings[0]),
        macs=pes * unit.tilings[0].matrix.size,
        conversions=round(pes * cost.conversions(unit.key) * conversions_asked(config, charged)),
        density=charged if reads_density(config) else None,
    )


def _digital_peak(config: ChipConfig) -> Peak:
    """Return the peak figures of a chip that is digital units alone."""
    mesh = build_mesh(config, 1)
    cost = CostModel(config, mesh, None)
    interval = period_ps(config.digital.clock_ghz)
    macs = mesh.n_digital * config.digital.macs_per_cycle
    counts = ActionCounts(
        phase="peak",
        tokens=0,
        makespan_ps=interval,
        digital_macs={"linear": macs},
        busy_ps={"digital": mesh.n_digital * interval},
    )
    ledger = Ledger()
    cost.charge(ledger, counts, None, mapped_tiles=0)
    return Peak(config, cost, ledger, VisitTiming(0, interval), 1, macs, 0, None)


def _full_pe(config: ChipConfig) -> Unit:
    """Return a unit of one matrix that fills every crossbar of a PE.

    Rows or columns stay empty where a crossbar does more without them: where the last rows
    would be driven by a read, or the last columns converted in a turn of the crossbar's ADCs,
    that is mostly idle.
    """
    tile = config.tile
    rows, active = tile.crossbar.rows, tile.crossbar.rows_at_once
    groups = [rows, rows // active * active] if rows % active else [rows]
    units = [_filled_pe(tile, r, c) for r in groups for c in _fills(tile)]
    # Of equal ones the first, which is the fullest.
    return max(units, key=lambda u: u.tilings[0].matrix.size / visit_timing(config, u).interval_ps)


def _fills(tile: Tile) -> list[int]:
    """Return how many logical columns of a crossbar may give most operations, all first."""
    layout, own = column_layout(tile), tile.adc.per_pe // tile.pe.crossbars
    per_weight, full = layout.converted_per_weight, layout.weights_per_crossbar
    conversions = full * per_weight + layout.unit_columns
    if tile.crossbar.kind == "digital" or own <= 1 or conversions % own == 0:
        return [full]
    # Columns that fill whole turns; what a weight leaves of a turn repeats after `per_weight`.
    turns = range(conversions // own, max(0, conversions // own - per_weight), -1)
    fills = [(turn * own - layout.unit_columns) // per_weight for turn in turns]
    return [full, *(c for c in fills if c >= 1)]


def _filled_pe(tile: Tile, rows: int, columns: int) -> Unit:
    """Return a unit of one matrix that takes some rows and columns of every crossbar of a PE."""
    one = tile_matrix(Matrix(MatrixId(0, "dense_up"), rows, columns), tile)
    blocks = one.column_blocks * tile.pe.crossbars
    matrix = Matrix(one.matrix.id, rows, columns * tile.pe.crossbars)
    return Unit(UnitKey(0, "shared"), (replace(one, matrix=matrix, column_blocks=blocks),))


def _counts(config: ChipConfig, mesh: ChipMesh, unit: Unit, timing: VisitTiming) -> ActionCounts:
    """Count the actions of one interval; every crossbar takes a vector of its own."""
    tiling, pes = unit.tilings[0], mesh.n_tiles * config.tile.pes
    bits, crossbars = config.tile.input.bits, pes * config.tile.pe.crossbars
    return ActionCounts(
        phase="peak",
        tokens=0,
        makespan_ps=timing.interval_ps,
        unit_vectors={unit.key: pes},
        buffer_read_bits=crossbars * tiling.matrix.n_in * bits,
        buffer_write_bits=pes * tiling.matrix.n_out * bits,
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
