"""Systems of several chips: where units go, what crosses chips, when it arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from cimsim.chip import Placement, analog_units, assign_chips, build_system, seats_in_order
from cimsim.chip.mesh import ChipMesh, build_mesh
from cimsim.chip.networks import system_topology
from cimsim.chip.topology import Topology
from cimsim.cost import ActionCounts, CostModel, Ledger
from cimsim.engine import EngineResult, simulate
from cimsim.engine.idle_network import make_network
from cimsim.engine.network import Network, settle
from cimsim.engine.noc.packet import FLITS, NocTiming
from cimsim.engine.plan import ChipNetwork, Ports, Transport
from cimsim.errors import CimsimError
from cimsim.workload.shapes import build_shape
from tests.engine.chips import System, make_config, make_shape, make_system, make_trace
from tests.twins.events.trains import reduce_train, scatter_trains, send_train

FLIT_PS, LATENCY_PS = 2_500, 7_000  # slower than the network's 1,000 ps per flit


def network(
    chips: int, topology: str = "mesh", *, contended: bool = True, single: bool = True
) -> Network:
    """Chips of 2 x 2 tiles, one per router; the gateway of chip c is port 4 chips + c."""
    between = system_topology(topology, chips)
    pairs = sorted(between.graph.edges)
    number = np.full((chips, chips), -1, dtype=np.int64)
    for i, pair in enumerate(pairs):
        number[pair] = i
    after = between.next_routers()
    link = np.take_along_axis(number, after, axis=1)
    between = ChipNetwork(after, link, tuple(pairs), FLIT_PS * 1000, LATENCY_PS)
    tiles = np.arange(4 * chips)
    gateways = 4 * np.arange(chips) + 3  # middle of the east edge: (1, 1)
    ports = Ports(np.concatenate([tiles, gateways]), 4 * chips, 0, 0)
    timing = NocTiming(flit_bytes=4, cycle_ps=1000)
    shape = Topology("mesh", 2, 2, 1, chips)
    return make_network(Transport(shape, timing, ports, contended, 1, single, between))


def over_links(net: Network) -> dict[tuple[int, int], int]:
    """Flits that crossed each link between three chips in a row."""
    pairs = sorted(system_topology("mesh", 3).graph.edges)
    return dict(zip(pairs, settle(net)[-4:, FLITS].tolist(), strict=True))


def local_ps(routers: int, flits: int) -> int:
    return (2 + 4 * routers + flits - 1) * 1000


@pytest.mark.parametrize("contended", [True, False])
def test_a_train_to_another_chip_takes_two_networks_and_a_link(contended: bool) -> None:
    net = network(2, contended=contended)
    # Tile 0 is at (0, 0): three routers to the gateway; tile 4 is its twin on chip 1.
    arrival = send_train(net, 0, 0, 0, 4, 5, 1)
    assert arrival == 2 * local_ps(3, 5) + 5 * FLIT_PS + LATENCY_PS
    assert settle(net)[-2:, FLITS].tolist() == [5, 0]


def test_the_slowest_part_of_the_way_decides_when_the_last_vector_arrives() -> None:
    net = network(2, single=False)
    arrival = send_train(net, 0, 0, 0, 4, 5, 10)
    # Vectors leave chip 0 back to back, the last one at the end; 10 x 5 flits cross slowly.
    first_out = local_ps(3, 50) - 9 * 5 * 1000
    assert arrival == first_out + 50 * FLIT_PS + LATENCY_PS + local_ps(3, 5)


def test_trains_queue_for_a_link_between_chips() -> None:
    net = network(2)
    first, second = (send_train(net, 0, 0, source, 4, 5, 1) for source in (3, 3))
    assert second - first == 5 * FLIT_PS


def test_a_token_crosses_a_link_once_however_many_tiles_want_it() -> None:
    net = network(3, "mesh")  # a row of three chips
    targets = np.array([1, 5, 6, 9, 10, 11], dtype=np.int64)
    out = np.zeros(6, dtype=np.int64)
    scatter_trains(net, 0, 0, targets, np.ones((6, 1), dtype=np.uint64), 6, 4, out.copy(), out)
    crossed = dict(
        zip(
            sorted(system_topology("mesh", 3).graph.edges),
            settle(net)[-4:, FLITS].tolist(),
            strict=True,
        )
    )
    assert crossed == {(0, 1): 4, (1, 0): 0, (1, 2): 4, (2, 1): 0}
    assert out[0] < out[1:3].min()
    assert out[1:3].max() < out[3:].min()


def test_a_link_carries_the_tokens_of_all_chips_behind_it() -> None:
    net = network(3, "mesh", single=False)
    targets = np.array([4, 8], dtype=np.int64)
    masks = np.array([[0b0111], [0b1100]], dtype=np.uint64)
    out = np.zeros((2, 2), dtype=np.int64)
    scatter_trains(net, 0, 0, targets, masks, 2, 1, out[0], out[1])
    crossed = dict(
        zip(
            sorted(system_topology("mesh", 3).graph.edges),
            settle(net)[-4:, FLITS].tolist(),
            strict=True,
        )
    )
    assert crossed[0, 1] == 4
    assert crossed[1, 2] == 2


def test_partial_results_are_added_on_the_way_over_chips() -> None:
    net = network(3, "mesh")
    sources = np.array([1, 4, 5, 8, 9], dtype=np.int64)
    ready = np.zeros(5, dtype=np.int64)
    masks = np.ones((5, 1), dtype=np.uint64)
    arrival = reduce_train(net, ready, ready, sources, masks, 5, 0, 4)
    crossed = dict(
        zip(
            sorted(system_topology("mesh", 3).graph.edges),
            settle(net)[-4:, FLITS].tolist(),
            strict=True,
        )
    )
    assert crossed == {(0, 1): 0, (1, 0): 4, (1, 2): 0, (2, 1): 4}
    # Chip 2 decides: its tile (0, 0) to the gateway, two links, the gateway of chip 0 to tile 0;
    # parts meet on chips 2 and 0, where adding takes six cycles.
    assert arrival == 2 * (local_ps(3, 4) + 6_000) + 2 * (4 * FLIT_PS + LATENCY_PS)


def test_uncontended_multicasts_equal_single_sends(scaled: Callable[[int], int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(scaled(200)):
        topology = str(rng.choice(["mesh", "ring", "full"]))
        chips, count = int(rng.integers(1, 7)), int(rng.integers(1, 9))
        net = network(chips, topology, contended=False)
        source, flits = int(rng.integers(4 * chips)), int(rng.integers(1, 9))
        targets = rng.integers(0, 4 * chips, count)
        masks = np.ones((count, 1), dtype=np.uint64)
        out = np.zeros(count, dtype=np.int64)
        scatter_trains(net, 50, source, targets, masks, count, flits, out.copy(), out)
        sent = [send_train(net, 50, 50, source, int(t), flits, 1) for t in targets]
        assert out.tolist() == sent
        ready = rng.integers(0, 90_000, count)
        back = reduce_train(net, ready, ready, targets, masks, count, source, flits)
        alone = [
            send_train(net, int(r), int(r), int(t), source, flits, 1)
            for r, t in zip(ready, targets, strict=True)
        ]
        assert back == max(alone)


@pytest.mark.parametrize("topology", ["mesh", "ring", "full"])
@pytest.mark.parametrize("chips", [2, 3, 4, 7, 12])
def test_ways_between_chips_are_shortest_and_use_links_that_exist(
    topology: str, chips: int
) -> None:
    network = system_topology(topology, chips)
    after, graph = network.next_routers(), network.graph
    links = set(graph.edges)
    for a in range(chips):
        distance = nx.single_source_shortest_path_length(graph, a)
        for b in range(chips):
            at, hops = a, 0
            while at != b:
                assert (at, int(after[at, b])) in links
                at, hops = int(after[at, b]), hops + 1
            assert hops == distance[b]
    assert network.width * network.height >= chips


@pytest.mark.parametrize("kind", ["mesh", "torus", "cmesh", "ring", "full"])
@pytest.mark.parametrize("chips", [1, 3])
def test_every_endpoint_of_a_system_is_reachable(kind: str, chips: int) -> None:
    config = make_config(chip={"tiles": 7}, noc={"kind": kind}, system={"chips": chips})
    mesh = build_mesh(config, 1)
    assert nx.is_connected(mesh.graph)
    chip_of = [mesh.router_of_tile(t) // mesh.chip_routers for t in range(mesh.n_tiles)]
    assert chip_of == [mesh.chip_of_tile(t) for t in range(mesh.n_tiles)]


def several(
    placement: str,
    chips: int,
    *,
    link: dict[str, object] | None = None,
    **sections: dict[str, object],
) -> System:
    """A small model on several chips, placed as the pipeline does at full size."""
    spread = {"chips": chips, "placement": placement, "link": link or {}}
    config = make_config(system=spread, **sections)
    program = build_shape(make_shape(layers=4))
    units = analog_units(program, config)
    mesh = build_system(config, units)
    placement_ = Placement(
        mesh.crossbars_per_tile, mesh.n_tiles, seats_in_order(config, mesh, units),
        {u.key: u for u in units},
    )  # fmt: skip
    placement_.check()
    one = make_system()
    trace = make_trace(program, 4, 16)
    return replace(
        one, config=config, mesh=mesh, placement=placement_, program=program, trace=trace
    )


def run(system: System, phase: str = "decode", engine: str = "simpy") -> EngineResult:
    return simulate(
        system, system.trace,
        phase=phase, batch=2, engine=engine,
    )  # fmt: skip


@pytest.mark.parametrize("placement", ["layers", "experts"])
def test_units_stay_on_one_chip_and_chips_share_the_load(placement: str) -> None:
    system = several(placement, 4)
    units = analog_units(system.program, system.config)
    chip_of = assign_chips(system.config, units)
    assert set(chip_of) == {0, 1, 2, 3}
    for unit, seat, chip in zip(units, system.placement.seats, chip_of, strict=True):
        assert {system.mesh.chip_of_tile(t) for t in system.placement.tiles_of(seat)} == {chip}
        if placement == "layers":
            assert chip == unit.key.layer
        elif unit.key.part == "experts":
            assert chip == unit.key.expert % 4


def test_more_chips_than_layers_split_the_experts_of_a_layer() -> None:
    system = several("layers", 8)
    chips = [
        system.mesh.chip_of_tile(system.placement.tile_of(s.crossbars[0]))
        for s in system.placement.seats
    ]
    assert chips == sorted(chips)
    assert set(chips) == set(range(8))


def test_a_chip_that_cannot_hold_its_units_is_refused_by_number() -> None:
    with pytest.raises(CimsimError, match=r"chip 0 of 4 holds the most.*short"):
        several("layers", 4, chip={"tiles": 1})


def expected_crossings(system: System) -> int:
    """Bits over links between chips of decoded tokens under `experts` placement, by hand.

    Layers sit on chips 0 to 3 of a 2 x 2 mesh of chips, expert e on chip e mod 4. A token goes
    along the tree of ways to its experts' chips and comes back along the tree.
    """
    mesh, trace = system.mesh, system.trace
    after = system_topology("mesh", 4).next_routers()

    def tree(home: int, others: set[int], *, back: bool) -> set[tuple[int, int]]:
        used = set()
        for chip in others - {home}:
            at, end = (chip, home) if back else (home, chip)
            while at != end:
                used.add((at, int(after[at, end])))
                at = int(after[at, end])
        return used

    bits = 0
    for layer in range(4):
        home = mesh.chip_of_tile(
            system.placement.tile_of(
                system.placement.seats_of[system.placement.seats[0].unit._replace(layer=layer)][
                    0
                ].crossbars[0]
            )
        )
        for row in trace.experts[:, layer]:
            chips = {int(e) % 4 for e in row}
            bits += len(tree(home, chips, back=False)) * 64 * 8
            bits += len(tree(home, chips, back=True)) * 64 * 16
        if layer < 3:  # the hidden state goes to the next layer's chip
            bits += trace.n_tokens * len(tree(layer, {layer + 1}, back=False)) * 64 * 16
    # A sampled token goes back to the first layer's chip, one flit per link, but for the last.
    ids = trace.n_tokens - 4
    return bits + ids * len(tree(3, {0}, back=False)) * 32


def test_bits_between_chips_are_those_of_the_trees() -> None:
    system = several("experts", 4)
    assert run(system).counts.chip_link_bits == expected_crossings(system)


def test_layers_over_chips_cross_once_a_cut() -> None:
    system = several("layers", 4)
    counts = run(system, "prefill").counts
    # A row of links: chip 0 to 1 is one link, 1 to 2 two (a 2 x 2 mesh), 2 to 3 one.
    assert counts.chip_link_bits == system.trace.n_tokens * (1 + 2 + 1) * 64 * 16


def test_a_link_between_chips_can_be_the_bottleneck_and_is_named() -> None:
    fast, slow = several("experts", 4), several("experts", 4, link={"gb_per_s": 0.01})
    result = run(slow)
    assert result.critical_resource.startswith("link from chip")
    assert result.makespan_ps > run(fast).makespan_ps


@pytest.mark.parametrize("placement", ["layers", "experts"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_engines_agree_and_latency_is_its_parts_on_several_chips(
    placement: str, phase: str
) -> None:
    system = several(placement, 3)
    slow, fast = (run(system, phase, engine) for engine in ("simpy", "compiled"))
    assert slow.latency_ps.tolist() == fast.latency_ps.tolist()
    assert slow.counts == fast.counts
    assert np.array_equal(slow.parts_ps.sum(axis=1), slow.latency_ps)


def test_links_between_chips_and_io_are_rows_of_the_ledger() -> None:
    config = make_config(system={"chips": 4, "io_pj_per_bit": 2.0, "link": {"pj_per_bit": 0.75}})
    mesh = build_mesh(config, 1)
    cost = CostModel(config, mesh, None)
    ledger = Ledger()
    counts = ActionCounts("decode", 1, 1, chip_link_bits=1000, io_in_bytes=4, io_out_bytes=6)
    cost.charge(ledger, counts, None)
    rows = {r.component: r for r in ledger}
    assert rows["chip_link"].energy_fj == 1000 * 750.0
    assert rows["io"].energy_fj == 80 * 2000.0
    assert rows["chip_link"].kind == rows["io"].kind == "off_chip"
    assert not any("chip I/O: token" in w for w in cost.not_modelled())
    plain = CostModel(make_config(), build_mesh(make_config(), 1), None)
    assert any("chip I/O: token ids in, logits out" in w for w in plain.not_modelled())
    assert "thermal feedback" in plain.not_modelled()


def test_what_enters_and_leaves_is_counted() -> None:
    counts = run(make_system()).counts
    assert counts.io_in_bytes == 64 * 4
    assert counts.io_out_bytes == 64 * 128 * 2


def test_a_system_has_the_area_of_all_its_chips() -> None:
    one, four = (make_config(chip={"tiles": 3}, system={"chips": n}) for n in (1, 4))

    def mm2(mesh: ChipMesh) -> float:
        return CostModel(one, mesh, None).area_mm2()

    assert mm2(build_mesh(four, 1)) == pytest.approx(4 * mm2(build_mesh(one, 1)))
