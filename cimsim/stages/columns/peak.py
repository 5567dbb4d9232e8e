"""The table of peak.csv: what a chip could do if every crossbar were busy all the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.cost.cooling import cooling_of
from cimsim.results.column import Empty, count, number, text
from cimsim.results.table import Table

if TYPE_CHECKING:
    from cimsim.cost.peak import Peak

__all__ = ["AS_PUBLISHED", "AS_RUN", "PEAK", "PeakForm"]

AS_RUN, AS_PUBLISHED = "as run", "as published"
NO_DATA = Empty("the energy of the chip does not depend on the data")


@dataclass(frozen=True)
class PeakForm:
    """A chip as it was run, or as it was published.

    Attributes:
        config: name of the chip.
        model: name of the checkpoint.
        form: `AS_RUN` or `AS_PUBLISHED`.
        preset: chip file of this form.
        peak: its figures.
    """

    config: str
    model: str
    form: str
    preset: str
    peak: Peak

    def watt(self, kind: str) -> float:
        """Return the power of one kind at peak: fJ / ps = mW."""
        return self.peak.ledger.by_kind()[kind] / self.peak.timing.interval_ps * 1e-3

    @property
    def tile_count(self) -> int:
        """Tiles; none on a chip that is digital units alone."""
        return self.peak.cost.mesh.n_tiles if self.peak.config.chip.analog_parts else 0


PEAK: Table[PeakForm] = Table(
    "peak",
    "One row per chip and form: as run (the tiles that hold the model, at the bits of the run) "
    "and, where published figures check it, the published chip with its tile count and bits.",
    (
        text("config", "Name of the chip.", lambda s: s.config),
        text("model", "Name of the checkpoint.", lambda s: s.model),
        text("form", f"{AS_RUN} or {AS_PUBLISHED}.", lambda s: s.form),
        text("preset", "Chip file of this form.", lambda s: s.preset),
        number("node_nm", "nm", "Process node.",
               lambda s: s.peak.config.technology.node_nm, minimum=1.0),
        count("weight_bits", "bit", "Bits of a weight; an operation is at these bits.",
              lambda s: s.peak.config.tile.weight.bits),
        count("input_bits", "bit", "Bits of an input.", lambda s: s.peak.config.tile.input.bits),
        count("tiles", "1", "Tiles; 0 on a chip that is digital units alone.",
              lambda s: s.tile_count),
        number(
            "peak_tops",
            "TOPS",
            "Operations per second with every crossbar full and busy, as fast as the ADCs of its "
            "PE convert; of digital units on a chip without crossbars. 1 MAC = 2 operations.",
            lambda s: s.peak.tops,
        ),
        number("input_bit_density", "1",
               "Mean input over the greatest, at which energy is charged.",
               lambda s: None if s.peak.density is None else s.peak.density.input_bit_density,
               NO_DATA, maximum=1.0),
        # Above 1 where cells err beyond the greatest level.
        number("mean_level_fraction", "1", "Mean conductance over the greatest, of the same.",
               lambda s: None if s.peak.density is None else s.peak.density.mean_level_fraction,
               NO_DATA),
        text("density_origin",
             "Where both are from: measured by the run, chip file or documented default; none "
             "where energy does not depend on them.",
             lambda s: "none" if s.peak.density is None else s.peak.density.origin),
        number("peak_tops_per_w", "TOPS/W", "The same over peak power.",
               lambda s: s.peak.tops_per_w, formula="peak_tops / peak_total_w"),
        number("peak_tops_per_mm2", "TOPS/mm2", "The same over area.",
               lambda s: s.peak.tops_per_mm2, formula="peak_tops / peak_area_mm2"),
        number("peak_total_w", "W", "Power at peak: dynamic, leakage and off-chip interfaces.",
               lambda s: s.peak.power_w),
        number("peak_leakage_w", "W", "Leakage in it.", lambda s: s.watt("leakage")),
        number("peak_off_chip_w", "W", "Off-chip interfaces in it.", lambda s: s.watt("off_chip")),
        number("peak_area_mm2", "mm2", "On-chip area of this form.", lambda s: s.peak.area_mm2),
        number("peak_w_per_mm2", "W/mm2", "Peak power per square millimetre.",
               lambda s: s.peak.w_per_mm2, formula="peak_total_w / peak_area_mm2"),
        text("peak_cooling",
             "Least cooling that takes it: air, microchannels or none known (cooling.air, "
             "cooling.microchannel).",
             lambda s: cooling_of(s.peak.w_per_mm2)),
        text("excluded", "Components that this form does not include.",
             lambda s: ", ".join(sorted(set(s.peak.config.cost.exclude))) or "nothing"),
    ),
)  # fmt: skip
