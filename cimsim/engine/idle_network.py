"""The network of a plan before anything is sent."""

from __future__ import annotations

import numpy as np

from cimsim.chip.routes import longest_way
from cimsim.engine.network import WORD_BITS, Network
from cimsim.engine.noc.packet import packet_state
from cimsim.engine.plan import Transport

__all__ = ["make_network"]


def make_network(transport: Transport) -> Network:
    """Return an idle network."""
    shape = transport.shape
    closed = not transport.contended and shape.is_open_grid
    chips, between = transport.between.chips, transport.between
    rows = shape.height * shape.chips
    links = transport.first_chip_link + len(between.pairs)
    vectors = 1 if transport.single else WORD_BITS * transport.words
    return Network(
        packet=packet_state(shape, transport.timing, links=links, vectors=vectors),
        router=transport.ports.router,
        flags=np.array([transport.contended, 0, closed, transport.single], dtype=np.int64),
        mark=np.zeros(links, dtype=np.int64),
        head=np.zeros(links, dtype=np.int64),
        tail=np.zeros(links, dtype=np.int64),
        union=np.zeros((links, transport.words), dtype=np.uint64),
        path=np.zeros((4, links), dtype=np.int64),
        order=np.full(longest_way(shape.routes) + 1, -1, dtype=np.int64),
        spans=np.zeros((2, 4, rows + 1, shape.width + 1), dtype=np.int64),
        chip=transport.ports.router // shape.chip_routers,
        gateway=np.arange(chips) + (transport.ports.first_gateway if chips > 1 else 0),
        after=between.after if chips > 1 else np.zeros(0, dtype=np.int64),
        chip_link=np.where(between.link < 0, -1, between.link + transport.first_chip_link),
        between=np.array([between.flit_fs, between.latency_ps], dtype=np.int64),
    )
