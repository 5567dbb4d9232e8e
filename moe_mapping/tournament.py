"""Tournaments of tile times: the root is the slowest tile, a change costs O(log tiles).

A tree of 2 P numbers: the root at 1, the children of node i at 2 i and 2 i + 1, tile t in
leaf P + t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.kernel import inlined, inner

__all__ = ["add_layer_time", "add_site_time", "add_sites_time", "play", "slowest_leaf"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@inlined
def add_site_time(site_start: Ints, site_tile: Ints, tree: Floats, site: int, time: float) -> None:
    """Add busy time to every tile of a site.

    Takes arrays instead of the bundles: in a hot loop every field that is read from a
    bundle costs a reference count, ten times the work done here.
    """
    for part in range(site_start[site], site_start[site + 1]):
        leaf = tree.size // 2 + site_tile[part]
        tree[leaf] += time
        leaf //= 2
        while leaf >= 1:
            top = max(tree[2 * leaf], tree[2 * leaf + 1])
            if tree[leaf] == top:
                break
            tree[leaf] = top
            leaf //= 2


@inlined
def add_layer_time(
    site_start: Ints, site_tile: Ints, layers: Floats, layer: int, site: int, time: float
) -> float:
    """Add busy time of a layer to every tile of a site; return how its slowest tile changes."""
    tree = layers[layer]
    before = tree[1]
    add_site_time(site_start, site_tile, tree, site, time)
    return float(tree[1] - before)


@inner
def play(tree: Floats) -> None:
    """Play the tournament of a tree whose leaves are set."""
    for node in range(tree.size // 2 - 1, 0, -1):
        tree[node] = max(tree[2 * node], tree[2 * node + 1])


@inner
def add_sites_time(
    site_start: Ints, site_tile: Ints, tree: Floats, sites: Ints, time: float
) -> None:
    """Add busy time to every tile of many sites, then play the whole tournament."""
    for site in sites:
        for part in range(site_start[site], site_start[site + 1]):
            tree[tree.size // 2 + site_tile[part]] += time
    play(tree)


@inner
def slowest_leaf(tree: Floats) -> int:
    """Return the slowest tile, the first of equals."""
    leaves = tree.size // 2
    node = 1
    while node < leaves:
        node = 2 * node if tree[2 * node] == tree[node] else 2 * node + 1
    return node - leaves
