"""Networks that are no mesh at both levels: rings, full networks, graphs of the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from cimsim.chip.networks import system_topology, wire
from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_state import FlitSettings
from cimsim.engine.noc.packet import NocTiming, packet_state, send
from cimsim.engine.noc.request import noc_request, read_network
from cimsim.errors import CimsimError
from tests.noc.feeding import Case, Job, random_case, run_network
from tests.noc.ways import route_length


def chiplets(channels: int = 4) -> Topology:
    """Two rings of five joined by two links, with a tile on every router."""
    graph: nx.Graph = nx.disjoint_union(nx.cycle_graph(5), nx.cycle_graph(5))
    graph.add_edges_from([(0, 5), (2, 8)])
    graph = nx.relabel_nodes(graph, str)
    for i, name in enumerate(graph):
        graph.nodes[name]["tiles"] = [i]
    return wire(graph, 10, virtual_channels=channels)


NETWORKS = [Topology("ring", 7, 1), system_topology("full", 6), chiplets()]


def on(network: Topology, seed: int, jobs: int, span: int) -> Case:
    """Random messages, multicasts and reductions between nodes of a network."""
    case = random_case(seed, jobs=jobs, span=span, packets=4, kinds=("torus",))
    rng = np.random.default_rng(seed)
    vcs = int(rng.integers(network.classes, 5))
    settings = FlitSettings(network, vcs, case.settings.buffer_flits)
    routers = tuple(int(r) for r in rng.integers(0, network.routers, len(case.node_routers)))
    return replace(case, settings=settings, node_routers=routers)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.kind)
def test_heavy_traffic_drains_and_arrives_once(
    network: Topology, scaled: Callable[[int], int]
) -> None:
    """Multicasts, sums and packets on as few channels as the network allows do not deadlock."""
    for seed in range(scaled(100)):
        case = on(network, seed, jobs=80, span=30)
        outcome, _ = run_network(case)
        assert sorted((job, node) for _, job, node in outcome.deliveries) == case.expected, seed


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.kind)
def test_a_lonely_message_takes_as_long_at_both_levels(network: Topology) -> None:
    for source in range(network.nodes):
        for target in range(network.nodes):
            routers = network.node_routers
            job = Job((0,), (0,), (1,), 5)
            ends = (int(routers[source]), int(routers[target]))
            settings = FlitSettings(network, 4, 8)
            ((cycle, _, _),) = run_network(Case(settings, 8, ends, (job,)))[0].deliveries
            length = route_length(network, source, target)
            assert cycle == 4 * length + 2 + 5 - 1
            state = packet_state(network, NocTiming(flit_bytes=4, cycle_ps=1))
            assert send(state, 0, source, target, 5) == cycle


@pytest.mark.parametrize("topology", ["ring", "full"])
def test_the_command_measures_a_network_that_is_no_mesh(topology: str) -> None:
    from cimsim.engine.noc.curve import Sampling

    request = noc_request(
        FlitSettings(read_network("6x1", topology, None), 2, 4),
        traffic="uniform", hotspots="", flits=2, rates="0.05", seed=0, sampling=Sampling(runs=1),
    )  # fmt: skip
    (point,) = request.points()
    shape = request.settings.shape
    hops = np.mean([[1 + shape.distance(a, b) for a in range(6)] for b in range(6)])
    assert point.stable
    assert point.hops == pytest.approx(hops, rel=0.1)


def test_a_chip_file_says_its_own_network(tmp_path) -> None:  # type: ignore[no-untyped-def]
    chip = tmp_path / "two.yaml"
    chip.write_text(
        "noc:\n  kind: graph\n  nodes: {a: {tiles: [0]}, b: {tiles: [1, 2]}}\n"
        "  edges: [{between: [a, b]}]\n",
        "utf-8",
    )
    assert read_network(None, str(chip), None).nodes == 3
    with pytest.raises(CimsimError, match="says the size"):
        read_network("8x8", str(chip), None)
    with pytest.raises(CimsimError, match="did you mean 'torus'"):
        read_network(None, "torsu", None)
