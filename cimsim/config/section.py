"""The base of every configuration section and the one way to declare a knob."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from cimsim.config.bounds import Bounds

__all__ = ["OffAtOne", "OffAtZero", "Section", "knob"]

# Numbers that resolved files leave out while they change nothing: the identity of a chip that was
# described before such a knob existed stays as it was.
OffAtZero = Annotated[float, Field(exclude_if=lambda value: value == 0.0)]
OffAtOne = Annotated[float, Field(exclude_if=lambda value: value == 1.0)]


class Section(BaseModel):
    """One frozen group of knobs; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _not_almost_nothing(cls, value: object, info: ValidationInfo) -> object:
        """Refuse a number that is neither 0 nor as great as the least that has a meaning."""
        extra = cls.model_fields[info.field_name or ""].json_schema_extra
        least = extra.get("least") if isinstance(extra, dict) else None
        if isinstance(least, float) and isinstance(value, float) and 0 < value < least:
            message = f"is smaller than what it can be: 0, or {least:g} and more"
            raise ValueError(message)
        return value


def knob(
    default: Any,
    description: str,
    *,
    unit: str = "1",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    within: Bounds | None = None,
) -> Any:
    """Declare a knob with its meaning, unit and bounds.

    Args:
        default: value when the file does not say; ``...`` makes the knob mandatory.
        description: what it models, in one sentence.
        unit: unit of the value, "1" for a pure number or a name.
        ge: least value allowed.
        gt: bound that the value must exceed.
        le: greatest value allowed.
        lt: bound that the value must stay below.
        within: bounds that many knobs share; `ge` and `le` win over them.
    """
    extra: dict[str, Any] = {"unit": unit}
    if within is not None:
        extra["reason"] = within.why
        if ge == 0:
            extra["least"] = float(within.least)
        ge = within.least if ge is None and gt is None else ge
        le = within.most if le is None and lt is None else le
    return Field(
        default,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        json_schema_extra=extra,
    )
