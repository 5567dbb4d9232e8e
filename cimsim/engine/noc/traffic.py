"""Synthetic traffic for networks on chip: who sends to whom, and when.

Injection is Bernoulli: a node starts a packet in a cycle with probability rate / S, with the
rate in flits per node and cycle and S flits per packet. Patterns follow Dally and Towles,
Principles and Practices of Interconnection Networks (2004), section 3.2, on the node grid.

A draw is a pure function of (seed, purpose, node, cycle), so the stream of a node does not
depend on anything that happens in the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit

from cimsim.chip.topology import Topology
from cimsim.errors import CimsimError, nearest
from cimsim.kernel_cache import cached

__all__ = ["Pattern", "Traffic", "destination", "draw", "starts_packet"]

Pattern = Literal["uniform", "transpose", "tornado", "hotspot", "neighbor", "bitcomp", "shuffle"]

START, CHOICE, TARGET, RUN = range(4)
"""Purposes of draws: start a packet, hotspot or not, which node, the seed of a run."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_S32 = np.uint64(32)

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Traffic:
    """Synthetic traffic at one rate.

    Args:
        pattern: destination pattern. `uniform` draws over all nodes, the sender included;
            fixed points of the others send to themselves.
        rate: offered load in flits per node and cycle, above 0 and at most 1.
        packet_flits: flits per packet.
        seed: seed of all draws.
        hotspots: for `hotspot`, the share of the packets that goes to each of these nodes;
            the rest is uniform over all nodes.

    Raises:
        CimsimError: on values out of range.
    """

    pattern: Pattern
    rate: float
    packet_flits: int = 1
    seed: int = 0
    hotspots: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        patterns = get_args(Pattern)
        if self.pattern not in patterns:
            raise CimsimError(
                "unknown traffic pattern",
                key="traffic",
                value=self.pattern,
                allowed=", ".join(patterns),
                hint=nearest(str(self.pattern), patterns),
            )
        if not (isfinite(self.rate) and 0 < self.rate <= 1):
            raise CimsimError(
                "the offered rate is out of range",
                key="rates",
                value=self.rate,
                allowed="above 0 and at most 1 flit per node and cycle",
            )
        if not 1 <= self.packet_flits <= 1 << 20:
            raise CimsimError(
                "a packet has no such length",
                key="flits",
                value=self.packet_flits,
                allowed="1 to 2**20 flits",
            )
        if not 0 <= self.seed < 1 << 63:
            raise CimsimError(
                "the seed is out of range", key="seed", value=self.seed, allowed="0 to 2**63 - 1"
            )
        if (self.pattern == "hotspot") != bool(self.hotspots):
            raise CimsimError(
                "hotspots and the hotspot pattern go together",
                key="hotspots",
                value=dict(self.hotspots) or self.pattern,
                hint="give --traffic hotspot and --hotspots ID:fraction,...",
            )
        shares = list(self.hotspots.values())
        if shares and not (
            all(isfinite(share) and share > 0 for share in shares) and sum(shares) <= 1 + 1e-12
        ):
            raise CimsimError(
                "the shares of the hotspots are out of range",
                key="hotspots",
                value=dict(self.hotspots),
                allowed="each above 0, at most 1 together",
            )

    def start_threshold(self) -> np.uint64:
        """Return the draws below which a packet starts, of 2**64."""
        return np.uint64(min((1 << 64) - 1, round(self.rate / self.packet_flits * (1 << 64))))

    def targets(self, shape: Topology) -> Int64:
        """Return the fixed target of every node, or an empty vector if it is drawn.

        Args:
            shape: the network.

        Raises:
            CimsimError: where the pattern does not exist on this node grid.
        """
        if self.pattern in ("uniform", "hotspot"):
            return np.zeros(0, dtype=np.int64)
        columns, rows = shape.node_grid
        node = np.arange(shape.nodes, dtype=np.int64)
        x, y = node % columns, node // columns
        if self.pattern == "tornado":
            x, y = (x + (columns + 1) // 2 - 1) % columns, (y + (rows + 1) // 2 - 1) % rows
        elif self.pattern == "neighbor":
            x, y = (x + 1) % columns, (y + 1) % rows
        elif self.pattern == "transpose":
            if columns != rows:
                self._refuse("transpose needs as many columns as rows", columns, rows)
            x, y = y, x
        else:
            bits = shape.nodes.bit_length() - 1
            if 1 << bits != shape.nodes:
                self._refuse(f"{self.pattern} needs a power of two of nodes", columns, rows)
            if self.pattern == "bitcomp":
                return shape.nodes - 1 - node
            return (node << 1 | node >> max(bits - 1, 0)) & (shape.nodes - 1)
        return y * columns + x

    def _refuse(self, message: str, columns: int, rows: int) -> None:
        raise CimsimError(message, key="traffic", value=f"{columns}x{rows} nodes")

    def hotspot_table(self, shape: Topology) -> tuple[Int64, UInt64]:
        """Return the hotspots' nodes and their cumulative draws, of 2**64.

        Args:
            shape: the network.

        Raises:
            CimsimError: if a hotspot is not a node.
        """
        nodes = np.array(sorted(self.hotspots), dtype=np.int64)
        if nodes.size and not (nodes[0] >= 0 and nodes[-1] < shape.nodes):
            raise CimsimError(
                "a hotspot is not a node of the network",
                key="hotspots",
                value=dict(self.hotspots),
                allowed=f"0 to {shape.nodes - 1}",
            )
        total, limits = 0.0, []
        for node in nodes:
            total += self.hotspots[int(node)]
            limits.append(min((1 << 64) - 1, round(total * (1 << 64))))
        return nodes, np.array(limits, dtype=np.uint64)


@cached
@njit()
def _mix(word: np.uint64) -> np.uint64:
    """Return the SplitMix64 output function of `word` (Steele, Lea and Flood, OOPSLA 2014)."""
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@cached
@njit()
def draw(seed: int, purpose: int, node: int, cycle: int) -> np.uint64:
    """Return 64 uniform random bits for this address.

    Each word of the address passes through SplitMix64's mixing function in turn.

    Args:
        seed: seed of the run.
        purpose: START, CHOICE, TARGET or RUN.
        node: the sending node, or the number of the run.
        cycle: the cycle.
    """
    word = _mix(np.uint64(seed) + _GOLDEN)
    word = _mix((word ^ np.uint64(purpose)) + _GOLDEN)
    word = _mix((word ^ np.uint64(node)) + _GOLDEN)
    return _mix((word ^ np.uint64(cycle)) + _GOLDEN)


@cached
@njit()
def starts_packet(seed: int, node: int, cycle: int, threshold: np.uint64) -> bool:
    """Return whether `node` starts a packet in `cycle`."""
    return bool(draw(seed, START, node, cycle) < threshold)


@cached
@njit()
def destination(
    seed: int,
    node: int,
    cycle: int,
    nodes: int,
    fixed: Int64,
    hot_nodes: Int64,
    hot_limits: UInt64,
) -> int:
    """Return the target of the packet that `node` starts in `cycle`.

    Args:
        seed: seed of the run.
        node: the sending node.
        cycle: the cycle.
        nodes: number of nodes.
        fixed: targets of a fixed pattern, or empty.
        hot_nodes: nodes of the hotspots, or empty.
        hot_limits: their cumulative shares, of 2**64.
    """
    if fixed.size:
        return fixed[node]  # type: ignore[no-any-return]
    if hot_nodes.size:
        choice = draw(seed, CHOICE, node, cycle)
        for k in range(hot_nodes.size):
            if choice < hot_limits[k]:
                return hot_nodes[k]  # type: ignore[no-any-return]
    # The high word times the number of nodes: bias below nodes / 2**32.
    word = draw(seed, TARGET, node, cycle) >> _S32
    # A signed word: with an unsigned one, indices made from it would become floats.
    return np.int64((word * np.uint64(nodes)) >> _S32)  # type: ignore[return-value]
