"""What one component costs on one chip: the common answer of all component models."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cimsim.config.components import IdlePolicy, Override
from cimsim.cost.constant import Constant

__all__ = ["Price", "given_fj"]


def given_fj(override: Override, vdd_v: float) -> float | None:
    """Return the user's energy of one action at this supply, or None if not given."""
    if override.energy_fj is None:
        return None
    supply = 1.0 if override.at_vdd_v is None else (vdd_v / override.at_vdd_v) ** 2
    return override.energy_fj * supply * override.energy_scale


@dataclass(frozen=True)
class Price:
    """Unit costs of one component.

    Attributes:
        component: its name in every report.
        action: what is counted.
        energy_fj: energy of one action; None means not modelled.
        area_um2: area of one instance; None means not modelled or part of another.
        leakage_uw: static power of one instance; None means not modelled.
        idle: what it does without work.
        constants: the numbers behind it.
        model: name of the model that computed it.
        notes: extrapolations and assumptions, shown with every result.
    """

    component: str
    action: str
    energy_fj: float | None
    area_um2: float | None
    leakage_uw: float | None
    idle: IdlePolicy
    constants: tuple[Constant, ...]
    model: str
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
        energy = given_fj(override, vdd_v)
        if energy is None and self.energy_fj is not None:
            energy = self.energy_fj * override.energy_scale
        return replace(
            self,
            energy_fj=energy,
            area_um2=self.area_um2 if override.area_um2 is None else override.area_um2,
            leakage_uw=self.leakage_uw if override.leakage_uw is None else override.leakage_uw,
            model=f"{override.source} (override of {self.model})",
        )
