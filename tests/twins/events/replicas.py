"""Which copy of a unit serves a token.

`static`: copy (sequence + position) mod copies, whatever the chip does: routing then decides
where every token goes. `least_loaded`: tokens of a flight in order, each to the copy that
would take it in first, the lowest replica of equals::

    ready(copy) = max(now, when all its ADC groups are free) + interval x vectors on their way

where vectors on their way are those sent to this copy (earlier tokens of the same flight
included) that it has not begun to take in. The digital unit knows all of this: it sent them.
"""

from __future__ import annotations

from cimsim.engine.plan import Plan

__all__ = ["ReplicaChoice"]


class ReplicaChoice:
    """Chooses copies for the reference engine.

    Args:
        plan: what runs.
        server_free: [servers], when each ADC group is free; the engine changes it.
        servers_of: [sites], servers of each.
    """

    def __init__(self, plan: Plan, server_free: list[int], servers_of: list[list[int]]) -> None:
        self._least_loaded = plan.least_loaded
        self._free, self._servers = server_free, servers_of
        self._interval: list[int] = plan.sites.interval_ps.tolist()
        self._key: list[int] = plan.token_key.tolist()
        self._sent = [0] * plan.sites.count

    def choose(self, sites: list[int], token: int, now_ps: int) -> int:
        """Return the site that serves a token (row of the trace), one of `sites`."""
        if len(sites) == 1:
            return sites[0]
        if not self._least_loaded:
            return sites[self._key[token] % len(sites)]
        best = min(sites, key=lambda site: self._ready_ps(site, now_ps))
        self._sent[best] += 1
        return best

    def begin(self, site: int, vectors: int) -> None:
        """Note that a site begins to take in vectors that were sent to it."""
        # Sites that are the only copy are not counted on the way there.
        self._sent[site] = max(0, self._sent[site] - vectors)

    def _ready_ps(self, site: int, now_ps: int) -> int:
        free = max(self._free[s] for s in self._servers[site])
        return max(now_ps, free) + self._interval[site] * self._sent[site]
