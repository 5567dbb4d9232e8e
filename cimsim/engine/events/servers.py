"""ADC groups of a site: PEs that always serve the same sites are one server, taken together."""

from __future__ import annotations

from cimsim.engine.events.machine import Machine
from cimsim.engine.noc.kernel import inner

__all__ = ["hold_servers", "servers_free_ps"]


@inner
def servers_free_ps(x: Machine, number: int) -> int:
    """Return from when on all ADC groups of a site are free."""
    site, free = x.site[number], x.now[0].time_ps
    for at in range(site.servers, site.servers_end):
        free = max(free, x.server[x.servers[at]].free_ps)
    return int(free)


@inner
def hold_servers(x: Machine, number: int, end_ps: int, busy_ps: int, written_ps: int) -> None:
    """Let all ADC groups of a site work until a time.

    Args:
        x: the tables.
        number: the site.
        end_ps: when they are free again.
        busy_ps: time that they serve visits until then.
        written_ps: time that their crossbars are written until then.
    """
    site = x.site[number]
    for at in range(site.servers, site.servers_end):
        server = x.server[x.servers[at]]
        server.free_ps = end_ps
        server.busy_ps += busy_ps
        server.written_ps += written_ps
