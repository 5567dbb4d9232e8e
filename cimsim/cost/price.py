"""What one component costs on one chip: the common answer of all component models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.config.components import IdlePolicy, Override
from cimsim.cost.constant import Constant

__all__ = ["Number", "Price", "overridden_fj"]

# A number, or one per unit.
Number = TypeVar("Number", float, NDArray[np.float64])


def overridden_fj(energy_fj: Number, override: Override, vdd_v: float) -> Number:
    """Return the user's energy of one action at this supply, or the model's times a factor.

    Args:
        energy_fj: energy that the model gives, a number or one per unit.
        override: what the chip file says.
        vdd_v: supply of the chip.
    """
    if override.energy_fj is None:
        return energy_fj * override.energy_scale
    supply = 1.0 if override.at_vdd_v is None else (vdd_v / override.at_vdd_v) ** 2
    return 0.0 * energy_fj + override.energy_fj * supply * override.energy_scale


@dataclass(frozen=True)
class Price:
    """Unit costs of one component.

    Attributes:
        component: its name in every report.
        energy_fj: energy of one action (`components` says of which); None means not modelled.
        model: name of the model that computed it.
        area_um2: area of one instance; None means not modelled or part of another.
        leakage_uw: static power of one instance; None means not modelled.
        idle: what it does without work.
        constants: the numbers behind it.
        notes: extrapolations and assumptions, shown with every result.
    """

    component: str
    energy_fj: float | None
    model: str
    area_um2: float | None = None
    leakage_uw: float | None = None
    idle: IdlePolicy = "gated"
    constants: tuple[Constant, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """One line: model and the sources of its constants."""
        cites = dict.fromkeys(c.cite() for c in self.constants)
        text = f"{self.model}: " + "; ".join(cites) if cites else self.model
        extra = [n for n in self.notes if n.startswith("extrapolated")]
        return f"{text} [{'; '.join(extra)}]" if extra else text

    def overridden(self, override: Override, vdd_v: float) -> Price:
        """Return this price with the user's numbers in place of the model's."""
        energy = self.energy_fj
        if energy is not None or override.energy_fj is not None:
            energy = overridden_fj(energy or 0.0, override, vdd_v)
        return replace(
            self,
            energy_fj=energy,
            area_um2=self.area_um2 if override.area_um2 is None else override.area_um2,
            leakage_uw=self.leakage_uw if override.leakage_uw is None else override.leakage_uw,
            model=f"{override.source} (override of {self.model})",
        )
