"""Geometry of the chip: numbering, hops, fitting, ports."""

from __future__ import annotations

import networkx as nx
import pytest

from cimsim.chip import build_mesh
from cimsim.config import ChipConfig, Mesh
from cimsim.errors import CimsimError


def chip(**parts: object) -> ChipConfig:
    return ChipConfig(name="x", **parts)  # type: ignore[arg-type]


def test_fit_is_the_smallest_mesh_with_spare_crossbars() -> None:
    mesh = build_mesh(chip(chip=Mesh(spare_fraction=0.125)), 640)  # 64 crossbars per tile
    assert mesh.n_tiles == 12  # ceil(720 / 64)
    assert (mesh.width, mesh.height) == (4, 3)


def test_too_few_tiles_names_the_shortfall() -> None:
    with pytest.raises(CimsimError, match="36 short"):
        build_mesh(chip(chip=Mesh(tiles=1)), 100)


def test_switching_chip_may_be_too_small() -> None:
    assert build_mesh(chip(chip=Mesh(tiles=1, switching="lru")), 100).n_tiles == 1


@pytest.mark.parametrize("kind", ["mesh", "torus", "cmesh", "ring", "full"])
def test_hops_are_shortest_paths_of_the_graph(kind: str) -> None:
    mesh = build_mesh(chip(chip=Mesh(tiles=20), noc={"kind": kind}), 1)
    paths = dict(nx.all_pairs_shortest_path_length(mesh.graph))
    for a in range(mesh.n_tiles):
        for b in range(mesh.n_tiles):
            ra, rb = mesh.router_of_tile(a), mesh.router_of_tile(b)
            assert mesh.tile_hops[a, b] == paths["router", ra]["router", rb]


def test_every_port_of_the_chip_is_connected() -> None:
    mesh = build_mesh(chip(chip=Mesh(tiles=10)), 1)
    assert nx.is_connected(mesh.graph)
    kinds = [kind for kind, _ in mesh.graph]
    assert kinds.count("tile") == 10
    assert kinds.count("digital") == 4
    assert kinds.count("memory") == 2
