"""Networks: links, routes, deadlock, places and names, of every kind."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import yaml

from cimsim.chip.deadlock import channel_dependencies, find_cycle
from cimsim.chip.networks import build_topology, system_topology, wire
from cimsim.chip.topology import GRIDS, Topology, read_direction
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError


def grid(kind: str, width: int, height: int, nodes: int = 1) -> Topology:
    return Topology(kind, width, 1 if kind == "ring" else height, nodes)


def random_graph(seed: int, routers: int = 9) -> nx.Graph:
    """A connected graph: a random tree and some more links, a tile on most routers."""
    rng = np.random.default_rng(seed)
    graph: nx.Graph = nx.Graph()
    tiles = itertools.count()
    for r in range(routers):
        graph.add_node(f"n{r}", tiles=[next(tiles)] if r % 4 else [])
        if r:
            graph.add_edge(f"n{r}", f"n{int(rng.integers(r))}", cost=int(rng.integers(1, 4)))
    for _ in range(routers):
        a, b = rng.choice(routers, 2, replace=False)
        graph.add_edge(f"n{a}", f"n{b}", cost=int(rng.integers(1, 4)))
    return graph


def wired(graph: nx.Graph, channels: int = 8) -> Topology:
    tiles = sum(len(own) for _, own in graph.nodes(data="tiles"))
    return wire(graph, tiles, virtual_channels=channels)


def ways(network: Topology) -> dict[tuple[int, int], tuple[int, ...]]:
    routers = range(network.chip_routers)
    return {(a, b): network.path(a, b) for a in routers for b in routers}


NETWORKS = [
    *(grid(kind, w, h) for kind in GRIDS for w, h in ((1, 1), (2, 2), (4, 3), (5, 4))),
    grid("cmesh", 3, 2, 4),
    *(system_topology("full", n) for n in (1, 2, 5)),
    *(wired(random_graph(seed)) for seed in range(6)),
    wired(random_graph(9, 30)),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.kind}{n.width}x{n.height}")
def test_every_network_keeps_the_laws_that_kernels_rely_on(network: Topology) -> None:
    """Ways exist, are trees from and to every router, and tables agree with each other."""
    links = network.router_links
    for (a, b), way in ways(network).items():
        at = [a, *map(network.link_end, way)]
        assert at[-1] == b
        assert [link // links for link in way] == at[:-1]
        assert len(set(at)) == len(at)
        assert len(way) == network.distance(a, b)
        assert network.next_link(a, b) == (way[0] if way else -1)
        for k, middle in enumerate(at):  # parts of ways are ways
            assert network.path(a, middle) == way[:k]
            assert network.path(middle, b) == way[k:]
        for link in way:
            back = network.reverse(link)
            assert network.link_end(back) == link // links
            assert back // links == network.link_end(link)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.kind}{n.width}x{n.height}")
def test_no_circle_of_channels_waits_for_itself(network: Topology) -> None:
    assert find_cycle(network) == ()
    classes = {channel for _, channel in channel_dependencies(network)}
    assert classes <= set(range(network.classes))


@pytest.mark.parametrize("kind", ["torus", "ring"])
def test_without_a_dateline_a_ring_would_wait_for_itself(kind: str) -> None:
    graph = channel_dependencies(grid(kind, 5, 5))
    merged = nx.DiGraph((a, b) for (a, _), (b, _) in graph.edges)
    assert not nx.is_directed_acyclic_graph(merged)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.kind}{n.width}x{n.height}")
def test_ways_are_those_of_least_cost(network: Topology) -> None:
    if network.wires is not None and network.kind == "graph":
        return  # the next test knows the costs
    for a, far in nx.all_pairs_shortest_path_length(network.graph):
        assert all(network.distance(a, b) == hops for b, hops in far.items())


def test_ways_of_a_graph_pay_least() -> None:
    graph = random_graph(3, 20)
    network = wired(graph)
    names = list(graph)
    for (a, b), way in ways(network).items():
        paid = sum(
            graph.edges[names[link // network.router_links], names[network.link_end(link)]]["cost"]
            for link in way
        )
        assert paid == nx.dijkstra_path_length(graph, names[a], names[b], weight="cost")


def test_a_route_goes_along_x_first() -> None:
    # Router 0 at (0, 0) to router 7 at (1, 2): east from router 0, then up from routers 1 and 4.
    assert Topology("mesh", 3, 3).path(0, 7) == (4 * 0 + 0, 4 * 1 + 2, 4 * 4 + 2)


def test_equally_long_ways_round_a_torus_alternate_and_those_of_a_ring_go_up() -> None:
    assert Topology("torus", 5, 1).path(0, 4) == (1,)
    assert Topology("torus", 4, 1).path(0, 2) == (0, 4)
    assert Topology("torus", 4, 1).path(1, 3) == (4 + 1, 0 + 1)
    assert Topology("ring", 4, 1).path(1, 3) == (4, 8)


def test_concentrated_nodes_share_the_router_of_their_block() -> None:
    shape = Topology("cmesh", 2, 2, 4)
    assert shape.node_grid == (4, 4)
    assert shape.node_routers.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    assert shape.node_ports.tolist() == [0, 1, 0, 1, 2, 3, 2, 3] * 2


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.kind}{n.width}x{n.height}")
def test_routers_of_several_chips_have_ways_of_their_own(network: Topology) -> None:
    system = replace(network, chips=3)
    first = 2 * network.chip_routers
    for (a, b), way in ways(network).items():
        ahead = tuple(first * network.router_links + link for link in way)
        assert system.path(first + a, first + b) == ahead
        assert system.next_link(first + a, first + b) == (ahead[0] if ahead else -1)
        assert system.distance(first + a, first + b) == len(way)
        assert [system.link_end(link) - first for link in ahead] == [
            network.link_end(link) for link in way
        ]


@pytest.mark.parametrize(
    "values",
    [
        ("star", 2, 2, 1),
        ("mesh", 0, 2, 1),
        ("mesh", 2, 2, 2),
        ("cmesh", 2, 2, 0),
        ("ring", 3, 2, 1),
    ],
)
def test_impossible_shapes_are_refused(values: tuple[str, int, int, int]) -> None:
    with pytest.raises(CimsimError):
        Topology(*values)


# ---------------------------------------------------------------------- graphs of the user

CHIPLETS = {
    "kind": "graph",
    "nodes": {
        "io": {"hosts": ["memory", "gateway"], "at": [1, 0]},
        "a": {"tiles": [0, 1], "at": [0, 1]},
        "b": {"tiles": [2, 3], "at": [1, 1]},
        "c": {"tiles": [4], "at": [3, 1]},
    },
    "edges": [
        {"between": ["a", "b"]},
        {"between": ["b", "c"], "length": 2.0},
        {"between": ["io", "b"]},
        {"between": ["a", "c"], "cost": 3, "length": 3.0},
    ],
}


def chip(noc: dict[str, object], tiles: int | str = "fit") -> ChipConfig:
    return ChipConfig.model_validate({"name": "x", "chip": {"tiles": tiles}, "noc": noc})


def test_a_graph_names_and_places_routers_and_links() -> None:
    network = build_topology(chip(CHIPLETS).noc, 5)
    a, b, c = 1, 2, 3
    assert network.path(a, c) == (network.next_link(a, b), network.next_link(b, c))
    link = network.next_link(b, c)
    assert network.link_name(link) == "router b to c"
    assert network.direction(link) == "+2x"
    assert read_direction("+2x") == (2, 0)
    assert read_direction("+2x-1y") == (2, -1)
    assert [read_direction(d) for d in ("+x", "-x", "+y", "-y")] == [
        (1, 0),
        (-1, 0),
        (0, 1),
        (0, -1),
    ]
    assert network.node_routers.tolist() == [a, a, b, b, c]
    assert network.node_ports.tolist() == [0, 1, 0, 1, 0]
    assert network.hosts("memory", 2) == [0, 0]
    assert network.hosts("digital", 4) == [0, 1, 2, 3]
    assert network.router_ports == (8 + 5) / 4
    lengths = network.link_lengths()
    assert lengths is not None
    assert lengths[link] == 2.0


def change(path: tuple[str | int, ...], value: object) -> dict[str, object]:
    """CHIPLETS with another value at a path."""
    import copy

    noc = copy.deepcopy(CHIPLETS)
    at = noc
    for key in path[:-1]:
        at = at[key]  # type: ignore[index]
    if isinstance(at, list) and path[-1] == len(at):
        at.append(value)
    else:
        at[path[-1]] = value  # type: ignore[index]
    return noc


@pytest.mark.parametrize(
    ("noc", "sentence"),
    [
        (change(("nodes", "c", "tiles"), [4, 1]), "tile 1 is on two nodes: a and c"),
        (change(("nodes", "c", "tiles"), [5]), "tile 4 is on no node"),
        (change(("nodes", "d"), {}), "not connected: no links lead from a, b, c, io to d"),
        (change(("edges", 4), {"between": ["a", "x"]}), "between a and x ends at no node"),
        (change(("edges", 4), {"between": ["b", "a"]}), "between b and a is listed twice"),
        (change(("edges", 4), {"between": ["b", "b"]}), "joins a node to itself"),
        (change(("nodes", "c", "at"), [0, 1]), r"c cannot be drawn at \[0, 1\], where a is"),
    ],
)
def test_an_impossible_graph_is_refused_with_its_nodes(
    noc: dict[str, object], sentence: str
) -> None:
    with pytest.raises(CimsimError, match=sentence):
        build_topology(chip(noc).noc, 5)


def loop(n: int, channels: int) -> Topology:
    graph = nx.cycle_graph([f"n{i}" for i in range(n)])
    for i, name in enumerate(graph):
        graph.nodes[name]["tiles"] = [i]
    return wire(graph, n, virtual_channels=channels)


def test_a_circle_of_links_needs_two_layers_or_is_refused_with_the_circle() -> None:
    assert loop(6, 2).classes == 2
    with pytest.raises(CimsimError, match=r"in a circle of links: n\d > n\d > ") as refusal:
        loop(6, 1)
    assert refusal.value.key == "noc.virtual_channels"
    assert loop(3, 1).classes == 1  # no way has two links


def test_a_graph_like_a_mesh_has_the_distances_of_a_mesh() -> None:
    graph = nx.relabel_nodes(nx.grid_2d_graph(4, 4), lambda at: f"{at[0]},{at[1]}")
    for i, name in enumerate(graph):
        graph.nodes[name]["tiles"] = [i]
    network = wired(graph)
    routers = np.arange(16)
    mesh = Topology("mesh", 4, 4)
    np.testing.assert_array_equal(network.distances(routers), mesh.distances(routers))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.kind}{n.width}x{n.height}")
def test_a_table_of_distances_holds_the_links_of_every_way(network: Topology) -> None:
    # Of the last of several chips, in an order of its own, some routers twice.
    several = replace(network, chips=3) if network.wires is None else network
    first = several.routers - several.chip_routers
    routers = first + np.random.default_rng(0).integers(0, several.chip_routers, 12)
    found = several.distances(routers)
    assert found.tolist() == [[several.distance(a, b) for b in routers] for a in routers]


def test_distances_that_two_bytes_do_not_hold_take_eight() -> None:
    far = Topology("mesh", 1 << 15, 1)
    assert far.distances(np.array([5, (1 << 15) - 1]))[0, 1] == (1 << 15) - 6


def test_the_graph_of_the_pages_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text("utf-8")
    noc = yaml.safe_load(page.split("```yaml")[1].split("```")[0])["noc"]
    network = build_topology(chip(noc).noc, 8)
    assert find_cycle(network) == ()
    assert network.distance(2, 4) == 1
