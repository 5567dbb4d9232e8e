"""A digital baseline by its roofline: peak, memory, and the share of both that was measured.

A file states where every figure comes from; what nobody measured says "assumed".
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cimsim.config.bounds import (
    AREA_MM2,
    BANDWIDTH_GB_PER_S,
    DEVICE_GB,
    POWER_W,
    TERAOPS,
)
from cimsim.config.bundled import bundled_files
from cimsim.config.section import Section, knob
from cimsim.config.section_file import load_section
from cimsim.errors import CimsimError, nearest
from cimsim.text_file import is_file

__all__ = ["DTYPE_BITS", "Baseline", "bundled_baselines", "open_baseline"]

Dtype = Literal["bf16", "fp8", "int8", "int4"]
DTYPE_BITS: dict[Dtype, int] = {"bf16": 16, "fp8": 8, "int8": 8, "int4": 4}


class SourcedShare(Section):
    """A share of a peak, and who measured it."""

    value: float = knob(..., "Share of the peak.", gt=0, le=1)
    source: str = Field(min_length=1, description="Who measured it; assumed, if nobody did.")


class SourcedPower(Section):
    """A power, and who measured it."""

    value: float = knob(..., "Power of one device.", unit="W", within=POWER_W)
    source: str = Field(min_length=1, description="Who measured it; assumed, if nobody did.")


class Baseline(Section):
    """A GPU or NPU as a roofline."""

    baseline: Literal[1] = knob(..., "Format of the file.")
    name: str = knob(..., "Name; that of the file if left out.")
    description: str = knob("", "One line for tables.")
    source: str = Field(min_length=1, description="Where peaks, memory, area and node come from.")
    node_nm: float = knob(..., "Process node.", unit="nm", ge=1, le=180)
    die_mm2: float = knob(..., "Area of the die, memory not counted.", unit="mm2", within=AREA_MM2)
    dtype: Dtype = knob(..., "Format of weights; one of peak_tops.")
    peak_tops: dict[Dtype, float] = Field(
        min_length=1,
        description="Peak operations per second of dense products, by format.",
        json_schema_extra={"unit": "TOPS", "reason": TERAOPS.why},
    )
    memory_gb: float = knob(..., "Memory of a device.", unit="GB", within=DEVICE_GB)
    memory_gb_per_s: float = knob(
        ..., "Peak bandwidth of that memory.", unit="GB/s", within=BANDWIDTH_GB_PER_S
    )
    kv_bits: int = knob(16, "Bits of a stored key or value.", unit="bit", ge=2, le=32)
    compute_efficiency: SourcedShare = Field(
        description="Share of peak_tops that large products reach."
    )
    memory_efficiency: SourcedShare = Field(
        description="Share of memory_gb_per_s that decode reaches."
    )
    compute_power: SourcedPower = Field(description="While products limit.")
    memory_power: SourcedPower = Field(description="While memory limits.")


def bundled_baselines() -> dict[str, Path]:
    """Return the files of the bundled baselines by name."""
    return bundled_files("baselines")


def open_baseline(name: str) -> Baseline:
    """Return a bundled baseline, or that of a file.

    Raises:
        CimsimError: if it is neither, or the file does not hold one.
    """
    bundled = bundled_baselines()
    path = bundled.get(name, Path(name))
    if not is_file(path):
        raise CimsimError(
            "is neither a bundled baseline nor a file",
            key="--baseline",
            value=name,
            allowed=f"{', '.join(bundled)}, or a YAML file",
            hint=nearest(name, bundled),
        )
    file = load_section(path, Baseline, {})
    found = file.section
    if found.dtype not in found.peak_tops:
        raise file.refusal("has no peak", ("dtype",), ", ".join(found.peak_tops))
    for dtype, tops in found.peak_tops.items():
        if not TERAOPS.least <= tops <= TERAOPS.most:
            allowed = f"{TERAOPS.least:g} to {TERAOPS.most:g} TOPS"
            raise file.refusal("is no peak of a device", ("peak_tops", dtype), allowed)
    return found
