"""Where the packet-level network may be trusted, and whether a run stayed there.

Measured against the flit-level network (4 virtual channels of 8 flits) under uniform traffic
on 4x4 and 8x8 meshes, an 8x8 torus and a 4x4 concentrated mesh: the mean latency of the
packet-level model is low by at most

    flits per packet   busiest link's utilisation   error
    1                0.4                          3 %
    2 to 8           0.2                          4 %
    9 to 64          0.1                          9 %

and by 2 to 8 % at 0.5, 8 % at 0.3 and 11 % at 0.2 respectively. The reasons are known: virtual
channels share a link flit by flit while the model serves packets in order, a long packet blocks
several routers at once, and allocators waste slots. Where a few links carry fixed flows
(transpose) the model holds much further.

Beyond these, the error is stated and not excused: messages of 4 to 4,096 flits, sent flit by flit
in packets of 8 (`noc.packet_flits`), under all bundled traffic patterns on a 4x4 mesh (`cimsim
bench messages`) and under uniform traffic on an 8x8 mesh. Up to a utilisation of the busiest link,
mean latency and its 99th percentile are low by at most

    busiest link's utilisation   mean    99th percentile
    0.07                          7 %    18 %
    0.16                         10 %    23 %
    0.33                         23 %    36 %
    0.55                         43 %    60 %
    0.66                         51 %    65 %

A link serves whoever was sent first, where the flit level's lets its inputs take turns; both
reasons grow with length and load. A network that is busier was not measured.

Utilisation is a mean over the run: bursts inside it can be worse than it says, so the mean
wait a packet is reported next to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.noc.packet import BUSY_PS, FLITS, PACKETS

__all__ = ["BEYOND", "LIMITS", "PacketValidity", "judge_packets"]

LIMITS = ((1.0, 0.4, 0.03), (8.0, 0.2, 0.04), (64.0, 0.1, 0.09))
"""Longest mean packet in flits, utilisation up to which it was measured, error up to there."""

BEYOND = (
    (0.07, 0.07, 0.18),
    (0.16, 0.10, 0.23),
    (0.33, 0.23, 0.36),
    (0.55, 0.43, 0.60),
    (0.66, 0.51, 0.65),
)
"""Utilisation, and by how much mean and 99th percentile are low at most, of 4 to 4,096 flits."""
LONGEST_FLITS = 4096.0


@dataclass(frozen=True)
class PacketValidity:
    """Whether a packet-level run stayed where the model is accurate.

    Attributes:
        inside: whether it did.
        utilisation: of the busiest link between routers or into a node, over the run.
        limit: utilisation up to which the model was measured for packets of this length.
        error: relative error of the mean latency up to there; None for longer packets.
        packet_flits: mean length of a packet.
        link: name of the busiest link.
    """

    inside: bool
    utilisation: float
    limit: float
    error: float | None
    packet_flits: float
    link: str

    def sentence(self) -> str:
        """Return what a report says about it."""
        where = f"busiest network link {self.link} at {100 * self.utilisation:.0f} %"
        if self.error is None:
            return f"{where}; packets of {self.packet_flits:.0f} flits: {self.beyond()}"
        bound = f"{100 * self.limit:.0f} %, where mean latency is within {100 * self.error:.0f} %"
        if self.inside:
            return f"{where}: inside the packet-level model's range ({bound})"
        return f"{where}: outside the packet-level model's range ({bound}); {self.beyond()}"

    def beyond(self) -> str:
        """Return by how much latency is too low outside the range, as it was measured."""
        row = next((row for row in BEYOND if self.utilisation <= row[0]), None)
        if row is None or self.packet_flits > LONGEST_FLITS:
            return "latency is too low, by more than was measured"
        _, mean, most = row
        return (
            f"mean latency is low by up to {100 * mean:.0f} %, its 99th percentile by up to "
            f"{100 * most:.0f} %"
        )


def judge_packets(
    used: NDArray[np.int64],
    injection: slice,
    elapsed_ps: int,
    link_name: Callable[[int], str],
) -> PacketValidity:
    """Judge a finished run.

    Injection links are left out: the model is exact there.

    Args:
        used: [links, 4], use of every link (`PacketState.used`).
        injection: links by which packets enter, each packet once.
        elapsed_ps: simulated time, above 0.
        link_name: names a link.
    """
    busy = used[:, BUSY_PS].copy()
    busy[injection] = 0
    worst = int(np.argmax(busy))
    utilisation = float(busy[worst]) / elapsed_ps
    packets, flits = (int(used[injection, column].sum()) for column in (PACKETS, FLITS))
    length = flits / packets if packets else 0.0
    longest, limit, error = next((row for row in LIMITS if length <= row[0]), LIMITS[-1])
    measured = length <= longest
    return PacketValidity(
        inside=measured and utilisation <= limit,
        utilisation=utilisation,
        limit=limit,
        error=error if measured else None,
        packet_flits=length,
        link=link_name(worst),
    )
