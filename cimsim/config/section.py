"""The base of every configuration section and the one way to declare a knob."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Section", "knob"]


class Section(BaseModel):
    """One frozen group of knobs; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def knob(
    default: Any,
    description: str,
    *,
    unit: str = "1",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
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
    """
    return Field(
        default,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        json_schema_extra={"unit": unit},
    )
