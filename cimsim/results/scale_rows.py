"""What readers of scale.csv ask of its rows."""

from __future__ import annotations

from cimsim.results.column import Row, number_of

__all__ = ["DECODE", "FREE_MEMORY", "MEMORY", "leakage_share"]

DECODE = "decode"
FREE_MEMORY = "decode_free_memory"
"""Phase of decode in which off-chip memory transfers in no time."""

MEMORY = "memory channels"
"""Busiest resource where off-chip memory decides."""


def leakage_share(row: Row) -> float:
    """Return the share of energy per token that on-chip leakage takes."""
    leakage = row["energy_leakage_nj"]
    if not isinstance(leakage, int | float):
        return 0.0
    return leakage / number_of(row, "energy_per_token_nj")
