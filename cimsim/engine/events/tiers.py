"""Tiers of a tile: one is active at a time, and making another one active takes time.

Tiles serve visits first come first served. A visit to the active tier may begin while others
read it, once it is active; one to another tier waits until the tile is read no more, and for the
switch. A visit that goes through several tiers of a tile has the tile for itself.
"""

from __future__ import annotations

from cimsim.engine.events.machine import Machine
from cimsim.engine.noc.kernel import inner

__all__ = ["take_tiers", "tiers_ready_ps"]


@inner
def tiers_ready_ps(x: Machine, number: int) -> int:
    """Return from when on the tiers of a site can be read."""
    site, now_ps = x.site[number], x.now[0].time_ps
    ready = now_ps
    for at in range(site.tiles, site.tiles_end):
        tile = x.tile[x.tiles[at]]
        if tile.tier != x.tier[at]:
            switched = max(now_ps, tile.tier_free_ps) + x.fixed[0].tier_switch_ps
            ready = max(ready, switched)
        elif x.tier_turns[at] > 0:
            ready = max(ready, tile.tier_free_ps)
        else:
            ready = max(ready, tile.tier_from_ps)
    return int(ready)


@inner
def take_tiers(x: Machine, number: int, start_ps: int, end_ps: int) -> None:
    """Let a visit read the tiers of its site.

    Args:
        x: the tables.
        number: the site.
        start_ps: when it begins.
        end_ps: when its last vector has been taken in.
    """
    site = x.site[number]
    for at in range(site.tiles, site.tiles_end):
        tile, turns = x.tile[x.tiles[at]], x.tier_turns[at]
        if tile.tier != x.tier[at]:
            tile.tier, tile.tier_from_ps = x.tier[at], start_ps
            tile.tier_switches += 1
        if turns > 0:
            tile.tier_from_ps = end_ps
            tile.tier_switches += turns
        tile.tier_free_ps = max(tile.tier_free_ps, end_ps)
