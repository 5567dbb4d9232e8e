"""Every figure of a report."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.report.canvas import Picture
from cimsim.report.chip_figures import expert_load_histogram, latency_distribution, tile_load_map
from cimsim.report.energy_bars import energy_breakdown
from cimsim.report.network_map import network_map
from cimsim.report.perplexity_dots import perplexity_dots
from cimsim.report.scatter import accuracy_energy
from cimsim.report.view import Design, View

__all__ = ["Figures", "draw_figures"]


@dataclass(frozen=True)
class Figures:
    """Figures of a report.

    Attributes:
        accuracy_energy: over all chips, energy of the full-size shape if there is one.
        energy: breakdown by component of the full-size shape, or None.
        energy_tiny: breakdown by component of the tiny model.
        perplexity: before and after calibration.
        chips: for every design its tiles, experts, latency and network.
    """

    accuracy_energy: Picture
    energy: Picture | None
    energy_tiny: Picture
    perplexity: Picture
    chips: tuple[tuple[Picture, ...], ...]

    def over_all_chips(self) -> tuple[Picture, ...]:
        """Return the figures that compare chips."""
        run = (self.accuracy_energy, self.perplexity, self.energy, self.energy_tiny)
        return tuple(f for f in run if f is not None)

    def all(self) -> tuple[Picture, ...]:
        """Return every figure in the order of the page."""
        return (*self.over_all_chips(), *(f for chip in self.chips for f in chip))


def draw_figures(view: View, folders: tuple[str, ...]) -> Figures:
    """Draw all figures of a run.

    Args:
        view: the run, with at least one chip.
        folders: for every design the folder of its own figures below ``figures/``.
    """
    return Figures(
        accuracy_energy=accuracy_energy(view, scaled=view.scaled),
        energy=energy_breakdown(view, scaled=True) if view.scaled else None,
        energy_tiny=energy_breakdown(view, scaled=False),
        perplexity=perplexity_dots(view),
        chips=tuple(
            (
                *(
                    # A digital chip has no tile that holds a weight.
                    (tile_load_map(design, folder),)
                    if design.chip.tile_load.holds_weights.any()
                    else ()
                ),
                expert_load_histogram(design, folder),
                latency_distribution(design, folder),
                *((network_map(design, folder),) if _uses_links(design) else ()),
            )
            for design, folder in zip(view.designs, folders, strict=True)
        ),
    )


def _uses_links(design: Design) -> bool:
    return any(r["kind"] == "link" for r in design.chip.resources)
