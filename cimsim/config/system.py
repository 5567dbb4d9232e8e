"""Several chips of one kind, what joins them, and what enters and leaves the system."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cimsim.config.bounds import BANDWIDTH_GB_PER_S, ENERGY_PJ_PER_BIT, LATENCY_NS
from cimsim.config.section import Section, knob

__all__ = ["ChipLink", "System"]


class ChipLink(Section):
    """Links between chips."""

    topology: Literal["mesh", "ring", "full"] = knob(
        "mesh",
        "Chips side by side in rows and columns, in a ring, or every two of them joined.",
    )
    gb_per_s: float = knob(
        32.0, "Bandwidth of one link in one direction.", unit="GB/s", within=BANDWIDTH_GB_PER_S
    )
    latency_ns: float = knob(
        2.0, "Time from a sending to a receiving pad.", unit="ns", ge=0, within=LATENCY_NS
    )
    pj_per_bit: float = knob(
        0.5, "Energy of one link, both ends.", unit="pJ/bit", ge=0, within=ENERGY_PJ_PER_BIT
    )
    source: str = knob(
        "UCIe standard package, 16 lanes of 16 GT/s; energy and latency are its targets (C)",
        "Where the numbers of a link come from.",
    )


class System(Section):
    """The chips of a system; all have the geometry that the other sections describe."""

    chips: int = knob(1, "Chips.", ge=1, le=1024)
    placement: Literal["layers", "experts"] = knob(
        "layers",
        "What is spread over the chips: consecutive layers, or the experts of every layer.",
    )
    link: ChipLink = Field(ChipLink(), description="Links between chips.")
    io_pj_per_bit: float | None = knob(
        None,
        "Energy of a bit between the system and its host (token ids in, logits out); null means "
        "not modelled.",
        unit="pJ/bit",
        ge=0,
        within=ENERGY_PJ_PER_BIT,
    )
