"""Counted actions become ledger rows: vectorised over units, one row per component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig
from cimsim.cost.actions import UnitActions
from cimsim.cost.bit_line import sense_fj
from cimsim.cost.catalogue import COMPANION, Catalogue, covered
from cimsim.cost.counts import ActionCounts, Density
from cimsim.cost.crossbar import cell_read_fj
from cimsim.cost.dac import drive_fj
from cimsim.cost.density import (
    charged_density,
    conversions_asked,
    recovers,
    searches,
    skips_reads,
)
from cimsim.cost.digital import (
    COMPONENT_OF_ELEMENT,
    COMPONENT_OF_MAC,
    element_fj,
    mac_fj,
)
from cimsim.cost.ledger import Kind, Ledger
from cimsim.cost.price import Number, overridden_fj
from cimsim.cost.rest import MACRO_PARTS, rest_fj
from cimsim.errors import CimsimInternalError
from cimsim.units import BITS_PER_BYTE, PS_PER_NS, period_ps

__all__ = ["Charger"]


@dataclass(frozen=True)
class Charger:
    """Writes the rows of one phase.

    Attributes:
        config: the chip.
        catalogue: its prices.
        actions: actions of one vector of each unit.
        ledger: where rows go.
        counts: what the phase counted.
    """

    config: ChipConfig
    catalogue: Catalogue
    actions: UnitActions
    ledger: Ledger
    counts: ActionCounts

    def _add(
        self,
        component: str,
        count: float,
        *,
        row: str = "",
        kind: Kind = "dynamic",
        energy_fj: float | None = None,
        note: str = "",
    ) -> None:
        """Charge `count` actions unless a table row includes the component.

        Args:
            component: whose price counts.
            count: actions.
            row: component that the ledger names, if it is another one.
            kind: of the row.
            energy_fj: energy of one action; None takes that of the price.
            note: said after the source.
        """
        name = component.removesuffix("_write") if component == "tile_buffer_write" else component
        if name in covered(self.config) or count == 0:
            return
        price = self.catalogue.prices[component]
        unit = price.energy_fj if energy_fj is None else energy_fj
        if unit is None:
            message = f"{component} has no energy per action"
            raise CimsimInternalError(message)
        block = "memory" if component == "dram" else "digital"
        outside = component in {"dram", *COMPONENT_OF_ELEMENT.values(), *COMPONENT_OF_MAC.values()}
        source = price.source + note
        if outside and block in self.config.cost.companion:
            source += COMPANION
        self.ledger.add(row or name, self.counts.phase, count, unit, kind=kind, source=source)

    def charge_tiles(self, density: Mapping[UnitKey, Density] | None) -> None:
        """Charge converters, drivers, cells and registers of every multiplied vector."""
        keys = [k for k, n in self.counts.unit_vectors.items() if n]
        rows = [self.actions.index[k] for k in keys]
        vectors = np.array([self.counts.unit_vectors[k] for k in keys], dtype=np.float64)
        measured = {} if density is None else density
        found = [charged_density(self.config, measured.get(k)) for k in keys]
        d = np.array([f.input_bit_density for f in found], dtype=np.float64)
        m = np.array([f.mean_level_fraction for f in found], dtype=np.float64)
        note = _assumed(found)
        total = {
            a: self.actions.column(a)[rows] * vectors
            for a in ("row_drives", "cell_reads", "column_reads", "input_bits", "output_bits")
        }
        asked = self.actions.column("conversions")[rows] * vectors
        each, read, how = self._asked(found)
        converted = float((asked * each).sum())
        self._add("input_broadcast", float(total["input_bits"].sum()))
        # Written once, read once.
        self._add("input_register", 2 * float(total["input_bits"].sum()))
        drives, each_fj = _mean(total["row_drives"], self._own("dac", drive_fj(self.config, d)))
        self._add("dac", drives, energy_fj=each_fj)
        energy = self._own("crossbar", cell_read_fj(self.config, d, m))
        reads, each_fj = _mean(total["cell_reads"], energy)
        self._add("crossbar", reads, energy_fj=each_fj, note=note)
        if "bit_line" in self.catalogue.prices:
            held = self._own("bit_line", sense_fj(self.config, d, m))
            sensed, each_fj = _mean(total["column_reads"] * read, held)
            self._add("bit_line", sensed, energy_fj=each_fj, note=note)
        if recovers(self.config):
            self._charge_recovery_cycles(found, total, m, read)
        if converted:
            if "merge" in self.catalogue.prices:
                self._add("merge", converted)
            self._add("sample_hold", converted)
            searched_fj = None
            if searches(self.config):
                factor = self._search_factor(found, asked * each)
                searched_fj = factor * self.catalogue.fj("adc")
            self._add("adc", converted, energy_fj=searched_fj, note=how)
            self._add("shift_add", converted)
        self._add("output_register", 2 * float(total["output_bits"].sum()))
        if "tier_switch" in self.catalogue.prices:
            self._add("tier_switch", self.counts.tier_switches)

    def _asked(
        self, found: Sequence[Density]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
        """Return conversions made and reads made, over all of each unit, and where it is from."""
        if not any(by(self.config) for by in (recovers, skips_reads, searches)):
            return np.ones(len(found)), np.ones(len(found)), ""
        read = np.array([1.0 - f.skipped_share for f in found])
        each = np.array([conversions_asked(self.config, f) for f in found])
        origins = ", ".join(dict.fromkeys(f.origin for f in found))
        return each, read, f" [conversions that data ask for: {origins}]"

    def _search_factor(self, found: Sequence[Density], conversions: NDArray[np.float64]) -> float:
        """Return mean comparisons of a conversion over those of a binary search: its energy."""
        bits = self.config.tile.adc.bits
        each = np.array([f.search_cycles / bits if f.search_cycles else 1.0 for f in found])
        return _mean(conversions, each)[1]

    def _charge_recovery_cycles(
        self,
        found: Sequence[Density],
        total: Mapping[str, NDArray[np.float64]],
        level: NDArray[np.float64],
        read: NDArray[np.float64],
    ) -> None:
        """Charge drivers, cells and bit lines of recovery cycles, which always run."""
        tile, layout = self.config.tile, column_layout(self.config.tile)
        share = layout.recoveries / layout.cycles
        narrow = tile.dac.model_copy(update={"bits": tile.dac.recovery_bits, "recovery_bits": None})
        config = self.config.model_copy(update={"tile": tile.model_copy(update={"dac": narrow})})
        d = np.array([f.recovery_bit_density for f in found], dtype=np.float64)
        parts = [
            ("dac", total["row_drives"], drive_fj(config, d)),
            ("crossbar", total["cell_reads"], cell_read_fj(config, d, level)),
        ]
        if "bit_line" in self.catalogue.prices:
            held = sense_fj(config, d, level)
            parts.append(("bit_line", total["column_reads"] * read, held))
        for component, counts, energy in parts:
            number, each_fj = _mean(counts * share, self._own(component, energy))
            self._add(component, number, energy_fj=each_fj, note=" [recovery cycles]")

    def charge_traffic(self) -> None:
        """Charge buffers, bus, partial sums and network.

        What a buffer holds is written once and read once; one of the two goes over the bus
        between buffer and PEs, the other to the network.
        """
        counts = self.counts
        self._add("tile_buffer", counts.buffer_read_bits)
        self._add("tile_buffer_write", counts.buffer_write_bits)
        self._add("tile_bus", (counts.buffer_read_bits + counts.buffer_write_bits) / 2)
        self._add("psum_traffic", counts.psum_bits)
        self._add("noc_router", counts.router_bits)
        self._add("noc_link", counts.link_bits)
        self._add("chip_link", counts.chip_link_bits, kind="off_chip")

    def charge_io(self) -> None:
        """Charge what enters and leaves the system, unless a table row does."""
        if "io" in self.catalogue.prices:
            moved = self.counts.io_in_bytes + self.counts.io_out_bytes
            self._add("io", moved * BITS_PER_BYTE, kind="off_chip")

    def charge_digital(self) -> None:
        """Charge MACs and elementwise operations of digital units."""
        for use, macs in self.counts.digital_macs.items():
            component = COMPONENT_OF_MAC[use]
            self._add(component, macs, energy_fj=self._own(component, mac_fj(self.config, use)))
        for use, elements in self.counts.digital_elements.items():
            component = COMPONENT_OF_ELEMENT[use]
            energy = self._own(component, element_fj(self.config, use))
            self._add(component, elements, energy_fj=energy)
        self._add_weight_reads()

    def _add_weight_reads(self) -> None:
        """Charge reads of the weight memory, as a second row of digital matrices."""
        bits = self.counts.weight_read_bytes * BITS_PER_BYTE
        if not bits or "digital_linear" in covered(self.config):
            return
        price = self.catalogue.prices["weight_sram"]
        self.ledger.add(
            "digital_linear",
            self.counts.phase,
            bits,
            self.catalogue.fj("weight_sram"),
            source=f"weight memory: {price.source}",
        )

    def _own(self, component: str, energy_fj: Number) -> Number:
        """Return an energy that depends on use or data, as the chip file overrides it."""
        override = self.config.cost.overrides.get(component)
        if override is None:
            return energy_fj
        return overridden_fj(energy_fj, override, self.config.technology.vdd_v)

    def charge_memory(self) -> None:
        """Charge DRAM and the KV cache, each byte once.

        Keys and values on the chip are SRAM accesses; those that the engine took from
        DRAM are charged there and only there.
        """
        counts = self.counts
        in_dram = self.config.memory.kv == "dram"
        pairs = (
            ("kv_read", counts.kv_read_bytes, counts.dram_read_bytes),
            ("kv_write", counts.kv_write_bytes, counts.dram_write_bytes),
        )
        for component, moved, dram in pairs:
            off_chip = dram.get("kv", moved if in_dram else 0)
            on_chip = 0 if in_dram else max(0, moved - off_chip)
            self._add(component, on_chip * BITS_PER_BYTE)
            if off_chip:
                self._add_dram(component, off_chip)
            other = sum(n for use, n in dram.items() if use != "kv")
            if other:
                self._add_dram("dram", other)

    def _add_dram(self, component: str, size_bytes: int) -> None:
        if "dram" not in self.catalogue.prices:
            message = f"{size_bytes} bytes of off-chip traffic on a chip without memory"
            raise CimsimInternalError(message)
        self._add("dram", size_bytes * BITS_PER_BYTE, row=component, kind="off_chip")

    def charge_programming(self) -> None:
        """Charge cells written."""
        written = sum(
            n * int(self.actions.column("cells")[self.actions.index[k]])
            for k, n in self.counts.programmed.items()
        )
        self._add("program", written)

    def charge_clock(self, mapped_tiles: int) -> None:
        """Charge the clock of tiles: while busy, or always where the policy keeps them on."""
        busy = self.counts.busy_ps.get("tile", 0)
        if self.config.cost.idle.tile == "on":
            busy = self.counts.makespan_ps * mapped_tiles
        self._add("clock", busy / period_ps(self.config.technology.clock_ghz))

    def charge_tables(self) -> None:
        """Charge published table powers: power x busy time, never also leakage."""
        for name, table in self.config.cost.tables.items():
            tile = table.per == "tile"
            always_ps = self.counts.makespan_ps * self.config.system.chips
            time_ps = self.counts.busy_ps.get("tile", 0) if tile else always_ps
            # mW x ns = 1e3 fJ.
            self.ledger.add(
                name,
                self.counts.phase,
                time_ps / PS_PER_NS * table.groups,
                table.power_mw * 1e3,
                kind="off_chip" if name == "io" else "dynamic",
                source=f"table power x busy time: {table.source}",
            )

    def charge_rest(self) -> None:
        """Charge control and the rest of the chip, by what was charged before (`cost.rest`)."""
        if self.config.cost.scope == "parts":
            return
        own = [r for r in self.ledger if r.phase == self.counts.phase and r.kind == "dynamic"]
        macro_fj = sum(r.energy_fj for r in own if r.component in MACRO_PARTS)
        outside_fj = sum(r.energy_fj for r in own if r.component not in MACRO_PARTS)
        self._add("macro_control", macro_fj)
        if "system_rest" in self.catalogue.prices:
            control = self.ledger.total_fj(phase=self.counts.phase, component="macro_control")
            self._add("system_rest", rest_fj(self.config, macro_fj + control, outside_fj))


def _assumed(found: Sequence[Density]) -> str:
    """Return in words where densities that no run measured are from."""
    origins = Counter(f.origin for f in found if f.origin != "measured")
    return "".join(f" [{o} densities for {n} of {len(found)} units]" for o, n in origins.items())


def _mean(counts: NDArray[np.float64], energy_fj: NDArray[np.float64]) -> tuple[float, float]:
    """Return the total count and the mean energy of one action."""
    total = float(counts.sum())
    return total, float((counts * energy_fj).sum()) / total if total else 0.0
