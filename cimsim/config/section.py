"""The base of every configuration section and the one way to declare a knob."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from cimsim.config.bounds import Bounds

__all__ = ["Section", "equals", "knob"]


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
    within: Bounds | None = None,
    late: bool = False,
) -> Any:
    """Declare a knob with its meaning, unit and bounds.

    Args:
        default: value when the file does not say; ``...`` makes the knob mandatory.
        description: what it models, in one sentence.
        unit: unit of the value, "1" for a pure number or a name.
        ge: least value allowed.
        gt: bound that the value must exceed.
        le: greatest value allowed.
        within: bounds that many knobs share; `ge` and `le` win over them.
        late: left out of resolved files at its default: the identity of a chip that was described
            before the knob existed stays as it was.
    """
    extra: dict[str, Any] = {"unit": unit}
    if within is not None:
        extra["reason"] = within.why
        if ge == 0:
            extra["least"] = float(within.least)
        ge = within.least if ge is None and gt is None else ge
        le = within.most if le is None else le
    return Field(
        default,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        json_schema_extra=extra,
        exclude_if=equals(default) if late else None,
    )


def equals(default: object) -> Callable[[object], bool]:
    """Return whether a value is the default, for fields that resolved files leave out then."""
    return lambda value: value == default
