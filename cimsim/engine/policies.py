"""Codes of the policies by which slots are given up."""

from __future__ import annotations

__all__ = ["LFU", "LRU", "PINNED", "POLICIES", "PREFETCH"]

LRU, LFU, PINNED, PREFETCH = range(4)
POLICIES = {"refuse": LRU, "lru": LRU, "lfu": LFU, "pinned": PINNED, "prefetch": PREFETCH}
"""Codes of the values of chip.switching; refuse never comes to giving up a slot."""
