"""One off-chip memory for every chip of a comparison: that of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cimsim.config.open_chip import open_chip
from cimsim.errors import CimsimError

__all__ = ["SharedMemory", "memory_of"]

KNOBS = ("kind", "channels", "channel_gb_per_s", "latency_ns", "pj_per_bit")
"""What is shared; where keys and values live, and their bits, stay each chip's own."""


@dataclass(frozen=True)
class SharedMemory:
    """A memory that every chip gets.

    Attributes:
        settings: KEY=VALUE strings.
        note: a sentence that states it.
    """

    settings: tuple[str, ...]
    note: str


def memory_of(chips: Sequence[str], reference: str | None) -> SharedMemory:
    """Return the off-chip memory of a chip.

    Args:
        chips: files or bundled names that are compared.
        reference: name of one of them; None takes the first.

    Raises:
        CimsimError: if the reference is none of the chips, or has no off-chip memory.
    """
    known = {c.name: c for c in (open_chip(chip) for chip in chips)}
    name = next(iter(known)) if reference is None else reference
    if name not in known:
        raise CimsimError(
            "is none of the chips compared",
            key="--reference",
            value=name,
            allowed=", ".join(known),
        )
    memory = known[name].memory
    if memory.kind == "none":
        raise CimsimError(
            f"{name} has no off-chip memory that others could be given",
            key="--equal-memory",
            hint="take another --reference",
        )
    values = {knob: getattr(memory, knob) for knob in KNOBS}
    settings = tuple(
        f"memory.{knob}={'null' if value is None else value}" for knob, value in values.items()
    )
    energy = "its usual" if memory.pj_per_bit is None else f"{memory.pj_per_bit:g}"
    return SharedMemory(
        settings,
        f"every chip has the off-chip memory of {name}: {memory.kind}, {memory.channels} channels "
        f"of {memory.channel_gb_per_s:g} GB/s, {memory.latency_ns:g} ns, {energy} pJ/bit",
    )
