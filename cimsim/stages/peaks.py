"""Peak figures of a chip as it was run, and of the published chip that it follows.

A runnable chip has the tiles that its model needs and the bits that the run uses; the chip
it is named after has a tile count and bits of its own (``published/NAME_peak.yaml``). Both
stand side by side, so that nobody takes one for the other. A form that no published figure
checks is nobody's measurement and has no row.
"""

from __future__ import annotations

from collections.abc import Mapping

from cimsim.chip import ChipMesh, UnitKey
from cimsim.config import ChipConfig
from cimsim.config.load import bundled_folder, load_chip
from cimsim.cost import Density
from cimsim.cost.density import mean_density
from cimsim.cost.peak import peak
from cimsim.cost.validation import load_checks
from cimsim.results import Row
from cimsim.stages.columns.peak import AS_PUBLISHED, AS_RUN, PEAK, PeakForm
from cimsim.stages.columns.registry import extended

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
    found = peak(sized, mean_density(density.values()))
    forms = [PeakForm(config.name, model, AS_RUN, config.name, found)]
    preset = f"{config.name}_peak"
    path = bundled_folder() / "published" / f"{preset}.yaml"
    if any(c.preset == preset and c.published is not None for c in load_checks()):
        published = peak(load_chip(path))
        forms.append(PeakForm(config.name, model, AS_PUBLISHED, preset, published))
    return tuple(extended(PEAK).measure(form) for form in forms)
