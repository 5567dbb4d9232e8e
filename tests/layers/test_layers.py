"""Who may import whom: no circle, no exception to the contract, no package outside it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import grimp
import networkx as nx
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cimsim", "moe_mapping", "romer")


@pytest.fixture(scope="module")
def imports() -> nx.DiGraph:
    """Every import of every module, also inside functions and for types alone."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)
    found = nx.DiGraph()
    for module in graph.modules:
        found.add_node(module)
        found.add_edges_from((module, to) for to in graph.find_modules_directly_imported_by(module))
    return found


def circles(imports: nx.DiGraph, package: str) -> Iterator[str]:
    own = imports.subgraph(m for m in imports if m.split(".")[0] == package)
    for group in nx.strongly_connected_components(own):
        if len(group) > 1:
            yield " -> ".join(a for a, _ in nx.find_cycle(own.subgraph(group)))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(imports: nx.DiGraph, package: str) -> None:
    assert not list(circles(imports, package))


def test_a_circle_would_be_found(imports: nx.DiGraph) -> None:
    more = imports.copy()
    more.add_edge("moe_mapping.assignment", "moe_mapping.registry")
    (found,) = circles(more, "moe_mapping")
    names = found.split(" -> ")
    assert all(more.has_edge(a, b) for a, b in pairwise([*names, names[0]]))


def test_contracts_list_every_package_and_no_exception() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    assert not [c["name"] for c in contracts if c.get("ignore_imports")]
    layers = next(c["layers"] for c in contracts if c["name"] == "Layers of the design")
    listed = {name.strip() for layer in layers for name in re.split("[|:]", layer)}
    children = {
        f"cimsim.{p.stem}" for p in (ROOT / "cimsim").iterdir()
        if (p.is_dir() or p.suffix == ".py") and not p.name.startswith("_")
    }  # fmt: skip
    assert children <= listed and "moe_mapping" in listed


def test_libraries_are_imported_without_their_command_lines(imports: nx.DiGraph) -> None:
    above = re.compile(r"cimsim\.(cli|bench|session|sweep|pipeline|stages|testing)\b")
    for root in ("moe_mapping.__main__", "romer.__main__", "moe_mapping", "romer"):
        reached = nx.descendants(imports, root)
        assert not [m for m in reached if above.match(m)], root
