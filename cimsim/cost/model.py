"""The cost of one chip: time of visits, energy of counted actions, area, leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from cimsim.chip import ChipMesh, Unit, UnitKey, analog_units
from cimsim.config import ChipConfig
from cimsim.cost.actions import UnitActions, count_actions
from cimsim.cost.area import AreaRow, area_rows
from cimsim.cost.catalogue import Catalogue, covered, price_chip
from cimsim.cost.charge import Charger
from cimsim.cost.counts import ActionCounts, Density
from cimsim.cost.digital import digital_ps
from cimsim.cost.leakage import (
    LeakageRow,
    default_mapped_tiles,
    leakage_rows,
    leaking_ns,
)
from cimsim.cost.ledger import Ledger
from cimsim.cost.programming import programming_bytes, programming_ps
from cimsim.cost.supply import leakage_notes
from cimsim.cost.timing import VisitTiming, visit_timing
from cimsim.cost.without_effect import knobs_without_effect
from cimsim.errors import CimsimError
from cimsim.units import BITS_PER_BYTE
from cimsim.workload.program import Program

__all__ = ["CostModel"]


class CostModel:
    """Prices of one chip and how its units use them.

    Args:
        config: the chip.
        mesh: its geometry.
        program: the model whose analog matrices are its units; None for a chip alone.
        units: units of a chip without a model (peak figures).

    Raises:
        CimsimError: if a component lies outside the range of its model.
    """

    def __init__(
        self,
        config: ChipConfig,
        mesh: ChipMesh,
        program: Program | None,
        *,
        units: Sequence[Unit] = (),
    ) -> None:
        self.config = config
        self.mesh = mesh
        self.catalogue: Catalogue = price_chip(config, mesh.network.router_ports)
        own = analog_units(program, config) if program is not None else tuple(units)
        self._actions: UnitActions = count_actions(own, config)
        self._mapped_tiles = default_mapped_tiles(mesh, sum(u.crossbars for u in own))
        self._leakage = leakage_rows(config, mesh, self.catalogue)

    def visit_timing(self, unit: Unit, in_pe: int | None = None) -> VisitTiming:
        """Return fill and interval of a visit to a unit; see `timing.visit_timing`."""
        return visit_timing(self.config, unit, in_pe)

    def programming_ps(self, unit: Unit) -> int:
        """Return the time to write one copy of a unit."""
        return programming_ps(self.config, unit)

    def programming_bytes(self, unit: Unit) -> int:
        """Return the stored weight bytes of one copy of a unit."""
        return programming_bytes(self.config, unit)

    def digital_ps(self, macs: int, elements: int) -> int:
        """Return the time of a job on one digital unit."""
        return digital_ps(self.config, macs, elements)

    def conversions(self, key: UnitKey) -> int:
        """Return ADC samples of one vector of a unit."""
        return int(self._actions.column("conversions")[self._actions.index[key]])

    def off_chip_fj(self, size_bytes: int) -> float:
        """Return the energy of moving bytes to or from off-chip memory, as it is charged."""
        if not size_bytes or "dram" in covered(self.config):
            return 0.0
        return size_bytes * BITS_PER_BYTE * self.catalogue.fj("dram")

    def charge(
        self,
        ledger: Ledger,
        counts: ActionCounts,
        density: Mapping[UnitKey, Density] | None,
        *,
        mapped_tiles: int | None = None,
    ) -> None:
        """Append the energy of one phase.

        Args:
            ledger: takes the rows.
            counts: what the engine counted.
            density: densities that the functional run measured; None or a missing unit
                takes the documented default, and the row says so.
            mapped_tiles: tiles that hold weights; None means just enough for every unit once.

        Raises:
            CimsimError: if nothing of the phase costs any energy: it has no TOPS/W, no shares.
        """
        tiles = self._mapped_tiles if mapped_tiles is None else mapped_tiles
        charger = Charger(self.config, self.catalogue, self._actions, ledger, counts)
        charger.charge_tiles(density)
        charger.charge_traffic()
        charger.charge_io()
        charger.charge_digital()
        charger.charge_memory()
        charger.charge_programming()
        charger.charge_clock(tiles)
        charger.charge_tables()
        charger.charge_rest()
        for row in self._leakage:
            if not isinstance(row.power_uw, str) and row.power_uw > 0:
                # uW x ns = fJ.
                ledger.add(
                    f"leakage_{row.component}",
                    counts.phase,
                    leaking_ns(row, self.mesh, counts, tiles),
                    row.power_uw,
                    kind="leakage",
                    source=f"{row.source}; idle policy {row.idle}",
                )
        if counts.makespan_ps and not ledger.total_fj():
            raise CimsimError(
                f"nothing that the chip does in phase {counts.phase} costs energy, so its "
                "operations per joule are undefined",
                key="cost",
                hint="overrides or excluded components leave nothing",
            )

    @cached_property
    def _area(self) -> tuple[AreaRow, ...]:
        return area_rows(self.config, self.mesh, self.catalogue)

    def area(self) -> tuple[AreaRow, ...]:
        """Return area by on-chip component."""
        return self._area

    def area_mm2(self) -> float:
        """Return the area of the chip, off-chip memory apart.

        Raises:
            CimsimError: if it is 0: nothing can then be said of a square millimetre.
        """
        area = sum(row.mm2 or 0.0 for row in self._area)
        if not area:
            raise CimsimError(
                "no component of the chip has an area, so figures per square millimetre are "
                "undefined",
                key="cost",
                hint="overrides or excluded components leave nothing",
            )
        return area

    def leakage(self) -> tuple[LeakageRow, ...]:
        """Return static power by component, or "not modelled"."""
        return self._leakage

    @property
    def notes(self) -> tuple[str, ...]:
        """Extrapolations, assumptions and pointless knobs that every report shows."""
        own = (*knobs_without_effect(self.config), *leakage_notes(self.config))
        return (*own, *self.catalogue.notes)

    def not_modelled(self) -> tuple[str, ...]:
        """Return what has no cost, in words."""
        found = [f"leakage of {r.component}" for r in self._leakage if isinstance(r.power_uw, str)]
        found += [f"area of {r.component}" for r in self._area if r.mm2 is None]
        if "io" not in self.config.cost.tables and "io" not in self.catalogue.prices:
            found.append("energy of chip I/O: token ids in, logits out (system.io_pj_per_bit)")
        found.append("time of chip I/O")
        if self.config.chip.analog_parts:
            found.append(
                "time on tile buses and at buffer ports, of activations and adders in tiles"
            )
        if self.config.cost.scope != "system":
            found.append("what a chip draws beside its parts: I/O cells, test (cost.scope)")
        if self.mesh.chips > 1:
            found.append("area of links between chips, gateways and package")
        found.append("thermal feedback")
        return (*found, "area and background power of off-chip memory", "area of links and clock")
