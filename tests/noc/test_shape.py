"""Geometry: links, XY routes, concentrated nodes and the shorter way round a torus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.engine.noc.shape import NocShape, neighbour, node_router, route_length, route_links
from cimsim.errors import CimsimError


@st.composite
def shapes(draw: st.DrawFn) -> NocShape:
    kind = draw(st.sampled_from(["mesh", "torus", "cmesh"]))
    nodes = draw(st.integers(1, 6)) if kind == "cmesh" else 1
    return NocShape(kind, draw(st.integers(1, 6)), draw(st.integers(1, 6)), nodes)


def test_a_route_goes_along_x_first() -> None:
    shape = NocShape("mesh", 3, 3)
    # Node 0 at (0, 0) to node 7 at (1, 2): east from router 0, then up from routers 1 and 4.
    assert route_links(shape, 0, 7).tolist() == [36, 4 * 0 + 0, 4 * 1 + 2, 4 * 4 + 2, 45 + 7]


def test_a_torus_takes_the_shorter_way_round() -> None:
    shape = NocShape("torus", 5, 1)
    assert route_links(shape, 0, 4).tolist() == [20, 1, 25 + 4]


def test_equally_long_ways_round_a_torus_alternate() -> None:
    shape = NocShape("torus", 4, 1)
    assert route_links(shape, 0, 2).tolist() == [16, 0, 4, 22]
    assert route_links(shape, 1, 3).tolist() == [17, 4 + 1, 0 + 1, 23]


def test_concentrated_nodes_share_the_router_of_their_block() -> None:
    shape = NocShape("cmesh", 2, 2, 4)
    geometry = shape.geometry()
    assert shape.node_grid == (4, 4)
    assert [node_router(geometry, n) for n in range(16)] == [
        *(0, 0, 1, 1),
        *(0, 0, 1, 1),
        *(2, 2, 3, 3),
        *(2, 2, 3, 3),
    ]


@given(shapes(), st.data())
def test_routes_are_connected_and_as_long_as_the_distance(shape: NocShape, data) -> None:
    nodes = st.integers(0, shape.nodes - 1)
    source, target = data.draw(nodes), data.draw(nodes)
    links = route_links(shape, source, target).tolist()
    geometry = shape.geometry()
    assert len(links) == route_length(geometry, source, target) + 1
    assert links[0] == shape.injection_index(source)
    assert links[-1] == shape.ejection_index(target)
    router = node_router(geometry, source)
    for link in links[1:-1]:
        assert link // 4 == router
        router = neighbour(geometry, router, link % 4)
        assert router >= 0
    assert router == node_router(geometry, target)
    assert len(set(links)) == len(links)


@pytest.mark.parametrize(
    "values",
    [("ring", 2, 2, 1), ("mesh", 0, 2, 1), ("mesh", 2, 2, 2), ("cmesh", 2, 2, 0)],
)
def test_impossible_shapes_are_refused(values: tuple[str, int, int, int]) -> None:
    with pytest.raises(CimsimError):
        NocShape(*values)  # type: ignore[arg-type]
