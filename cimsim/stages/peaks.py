"""Peak figures of a chip as it was run, and of the published chip that it follows.

A runnable chip has the tiles that its model needs and the bits that the run uses; the chip
it is named after has a tile count and bits of its own (``published/NAME_peak.yaml``). Both
stand side by side, so that nobody takes one for the other. A form that no published figure
checks is nobody's measurement and has no row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cimsim.chip import ChipMesh, UnitKey
from cimsim.config import ChipConfig
from cimsim.config.load import bundled_folder, load_chip
from cimsim.cost import Density
from cimsim.cost.cooling import cooling_of
from cimsim.cost.peak import Peak, peak
from cimsim.cost.validation import load_checks
from cimsim.results import AS_PUBLISHED, AS_RUN, PEAK, Row

__all__ = ["peak_rows"]


def peak_rows(
    config: ChipConfig, model: str, mesh: ChipMesh, density: Mapping[UnitKey, Density]
) -> tuple[Row, ...]:
    """Return the rows of peak.csv of one chip.

    Args:
        config: the chip.
        model: name of the checkpoint.
        mesh: its tiles, of all chips of a system.
        density: densities that they measured; their mean sets the energy of a read.
    """
    sized = config.model_copy(
        update={"chip": config.chip.model_copy(update={"tiles": mesh.chip_tiles})}
    )
    rows = [_row(config, model, AS_RUN, config.name, peak(sized, _mean(density)))]
    preset = f"{config.name}_peak"
    path = bundled_folder() / "published" / f"{preset}.yaml"
    if any(c.preset == preset and c.published is not None for c in load_checks()):
        rows.append(_row(config, model, AS_PUBLISHED, preset, peak(load_chip(path))))
    return tuple(rows)


def _mean(density: Mapping[UnitKey, Density]) -> Density | None:
    if not density:
        return None
    return Density(
        float(np.mean([d.input_bit_density for d in density.values()])),
        float(np.mean([d.mean_level_fraction for d in density.values()])),
    )


def _row(config: ChipConfig, model: str, form: str, preset: str, found: Peak) -> Row:
    chip, density = found.config, found.density
    kinds = found.ledger.by_kind()
    # fJ / ps = mW.
    watt = {k: fj / found.timing.interval_ps * 1e-3 for k, fj in kinds.items()}
    return PEAK.row(
        {
            "config": config.name,
            "model": model,
            "form": form,
            "preset": preset,
            "node_nm": chip.technology.node_nm,
            "weight_bits": chip.tile.weight.bits,
            "input_bits": chip.tile.input.bits,
            "tiles": found.cost.mesh.n_tiles if chip.chip.analog_parts else 0,
            "peak_tops": found.tops,
            "input_bit_density": None if density is None else density.input_bit_density,
            "mean_level_fraction": None if density is None else density.mean_level_fraction,
            "density_origin": "none" if density is None else density.origin,
            "peak_tops_per_w": found.tops_per_w,
            "peak_tops_per_mm2": found.tops_per_mm2,
            "peak_total_w": found.power_w,
            "peak_leakage_w": watt["leakage"],
            "peak_off_chip_w": watt["off_chip"],
            "peak_area_mm2": found.area_mm2,
            "peak_w_per_mm2": found.w_per_mm2,
            "peak_cooling": cooling_of(found.w_per_mm2),
            "excluded": ", ".join(sorted(set(chip.cost.exclude))) or "nothing",
        }
    )
