"""A sweep: the file that spans a design space around some chips.

Axes are knobs by their dotted paths. Without `sample` every combination of their values is a
point; with it, points are drawn from the space. Constraints and objectives name columns of the
sweep's table (`cimsim explain COLUMN`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cimsim.config.section import Section, knob

__all__ = ["Fidelity", "Sample", "Scalar", "SearchKnobs", "Span", "SweepPlan"]

Scalar = bool | int | float | str | None
AxisValue = Scalar | tuple[Scalar, ...]


class Span(Section):
    """A range of values of one axis."""

    low: float = knob(..., "Least value.")
    high: float = knob(..., "Greatest value.")
    count: int | None = knob(
        None,
        "Values of a grid, evenly spread from low to high; samples draw from the whole range.",
        ge=2,
        le=10_000,
    )
    log: bool = knob(default=False, description="Spread evenly in the logarithm.")

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.low >= self.high:
            message = f"low ({self.low:g}) must lie below high ({self.high:g})"
            raise ValueError(message)
        if self.log and self.low <= 0:
            message = f"a range in the logarithm must lie above 0 (low is {self.low:g})"
            raise ValueError(message)
        return self


class Sample(Section):
    """Points drawn from the space instead of a grid."""

    method: Literal["random", "latin_hypercube", "sobol"] = knob(
        "sobol", "How points are drawn (scipy.stats.qmc)."
    )
    points: int = knob(..., "Points drawn; equal ones are evaluated once.", ge=1, le=100_000)
    seed: int = knob(0, "Seed of the draw.", ge=0, le=2**31 - 1)


class Fidelity(Section):
    """One rung of the ladder: how precisely points that are still in the running are scored."""

    tokens: int = knob(..., "Scored tokens (workload.tokens).", unit="token", ge=2)
    chip_seeds: int = knob(1, "Chips drawn (run.chip_seeds).", ge=1, le=1000)
    keep: float = knob(
        0.5, "Share of the points that goes on to the next rung; of no use on the last.", gt=0, le=1
    )


class SearchKnobs(Section):
    """How `cimsim search` looks for points."""

    sampler: Literal["tpe", "nsga2", "random"] = knob(
        "tpe", "Tree-structured Parzen estimator, a genetic algorithm, or chance (Optuna)."
    )
    trials: int = knob(100, "Points evaluated.", ge=1, le=100_000)
    seed: int = knob(0, "Seed of the sampler.", ge=0, le=2**31 - 1)
    reference: dict[str, float] = Field(
        {},
        description="Corner of the hypervolume, a value per objective that every point of "
        "interest is better than.",
    )


class SweepPlan(Section):
    """One file of arch_configs/sweeps: chips, axes, what is wanted."""

    sweep: Literal[1] = knob(..., "Version of the format of plans.")
    name: str = knob(..., "Name of the sweep in reports.")
    description: str = knob("", "The question, in one sentence.")
    chips: tuple[str, ...] = Field(
        min_length=1, description="Chip files beside the plan, or names of bundled chips."
    )
    set: dict[str, AxisValue] = Field({}, description="Knobs that are the same in all points.")
    axes: dict[str, tuple[AxisValue, ...] | Span] = Field(
        {}, description="Values of every varied knob: a list, or a range {low, high, count, log}."
    )
    zip: tuple[tuple[str, ...], ...] = Field(
        (), description="Axes that move together: lists of equal length, not combined."
    )
    sample: Sample | None = Field(None, description="Draw points instead of combining all values.")
    constraints: tuple[str, ...] = Field(
        (), description="What a chip must meet, as COLUMN <= NUMBER or COLUMN >= NUMBER."
    )
    objectives: tuple[str, ...] = Field(
        (), description="Columns to optimise: COLUMN, min COLUMN or max COLUMN."
    )
    models: tuple[str, ...] = Field(
        ("olmoe-tiny",), min_length=1, description="Bundled models or checkpoint folders."
    )
    accuracy: Literal["on", "off"] = knob(
        "on", "Score the model on every chip, or time, energy and area alone."
    )
    routing_skew: float = knob(
        0.6,
        "Without accuracy: Zipf exponent of the experts' popularity, 0 for even loads.",
        ge=0,
        le=10,
    )
    fidelity: tuple[Fidelity, ...] = Field(
        (), description="Rungs of successive halving, coarse first; none scores as the chip says."
    )
    search: SearchKnobs = Field(SearchKnobs(), description="How `cimsim search` goes about it.")

    @model_validator(mode="after")
    def _together(self) -> SweepPlan:
        for group in self.zip:
            _check_zip(group, self.axes)
        zipped = [axis for group in self.zip for axis in group]
        if len(zipped) != len(set(zipped)):
            message = "zip names an axis twice"
            raise ValueError(message)
        both = sorted(set(self.set) & set(self.axes))
        if both:
            message = f"{both[0]} is both set and an axis"
            raise ValueError(message)
        if self.accuracy == "off" and self.fidelity:
            message = "fidelity has no effect where accuracy is off"
            raise ValueError(message)
        return self


def _check_zip(group: tuple[str, ...], axes: dict[str, tuple[AxisValue, ...] | Span]) -> None:
    lengths = set()
    for axis in group:
        values = axes.get(axis)
        if values is None or isinstance(values, Span):
            message = f"zip names {axis!r}, which is not an axis with a list of values"
            raise ValueError(message)
        lengths.add(len(values))
    if len(lengths) > 1 or len(group) < 2:
        message = f"zipped axes {', '.join(group)} need equal numbers of values, two axes or more"
        raise ValueError(message)
