"""Moving vectors between the chips of a system.

Every chip has one gateway, an endpoint of its network. A train for another chip goes to the
gateway, over links between chips, and from the other chip's gateway on. Gateways hold a
vector until all of it is there, because width and clock change; the vectors of a train
follow each other, and those that arrive are taken to come back to back up to the last one.
A multicast crosses each link between chips once with the tokens that any chip behind it
needs, and spreads from the gateway of every chip that it reaches; a reduction is summed on
each chip, then in the gateways on the way. Gateways have room for whatever waits in them.

Every kernel takes `Network.after` as an argument of its own: in a system of one chip it has one
dimension, which is known when the kernel is compiled, and nothing of the rest is compiled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.network import (
    FLIT_FS,
    FS_PER_PS,
    Network,
    count_tokens,
    set_tokens,
    take_chip_link,
)
from cimsim.engine.noc.kernel import ZERO, allocating, inner
from cimsim.engine.noc.packet import CYCLE_PS
from cimsim.engine.trains import reduce_local, scatter_local, send_local

__all__ = ["reduce_between", "scatter_between", "send_between"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


@inner
def send_between(
    net: Network,
    after: Int64,
    first_ps: int,
    last_ps: int,
    source: int,
    target: int,
    flits: int,
    vectors: int,
) -> int:
    """`send_train` to another chip."""
    if after.ndim == 1:
        return ZERO
    chip, end = net.chip[source], net.chip[target]
    last = send_local(net, first_ps, last_ps, source, net.gateway[chip], flits, vectors)
    first = last - _noc_span(net, flits, vectors)
    while chip != end:
        last = take_chip_link(net, net.chip_link[chip, end], first, last, flits, vectors)
        first = last - _chip_span(net, flits, vectors)
        chip = after[chip, end]
    return send_local(net, first, last, net.gateway[end], target, flits, vectors)


@inner
def _noc_span(net: Network, flits: int, vectors: int) -> int:
    """Return the time from the first to the last vector of a train out of a chip's network."""
    return int((vectors - 1) * flits * net.packet.config[CYCLE_PS])


@inner
def _chip_span(net: Network, flits: int, vectors: int) -> int:
    """Return the time from the first to the last vector of a train off a link of chips."""
    one = -(-flits * net.between[FLIT_FS] // FS_PER_PS)
    return int(-(-vectors * flits * net.between[FLIT_FS] // FS_PER_PS) - one)


@allocating
def scatter_between(
    net: Network,
    after: Int64,
    now_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    arrivals_ps: Int64,
) -> None:
    """`scatter_trains` to several chips."""
    if after.ndim == 1:
        return
    home, chips = net.chip[source], net.gateway.size
    wanted = np.zeros((chips, masks.shape[1]), dtype=np.uint64)
    for k in range(count):
        for w in range(masks.shape[1]):
            wanted[net.chip[targets[k]], w] |= masks[k, w]
    # At home: to the tiles here, and to the gateway all that other chips want.
    away = np.zeros(masks.shape[1], dtype=np.uint64)
    for chip in range(chips):
        if chip != home:
            for w in range(masks.shape[1]):
                away[w] |= wanted[chip, w]
    first, last = np.zeros(chips, dtype=np.int64), np.zeros(chips, dtype=np.int64)
    last[home] = _scatter_on(
        net, home, now_ps, now_ps, source, targets, masks, count, flits, firsts_ps, arrivals_ps,
        away,
    )  # fmt: skip
    first[home] = last[home] - _noc_span(net, flits, count_tokens(away))
    _cross_chips(net, after, home, wanted, flits, first, last)
    none = np.zeros(masks.shape[1], dtype=np.uint64)
    for chip in range(chips):
        if chip != home and count_tokens(wanted[chip]) > 0:
            _scatter_on(
                net, chip, first[chip], last[chip], net.gateway[chip], targets, masks, count,
                flits, firsts_ps, arrivals_ps, none,
            )  # fmt: skip


@allocating
def _scatter_on(
    net: Network,
    chip: int,
    first_ps: int,
    last_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    arrivals_ps: Int64,
    away: UInt64,
) -> int:
    """Multicast to the targets on one chip, and to its gateway the tokens that go `away`.

    Returns:
        When the last of those reaches the gateway.
    """
    here = np.empty(count + 1, dtype=np.int64)
    tokens = np.empty((count + 1, masks.shape[1]), dtype=np.uint64)
    index = np.empty(count, dtype=np.int64)
    found = 0
    for k in range(count):
        if net.chip[targets[k]] == chip:
            here[found], index[found] = targets[k], k
            set_tokens(tokens, found, masks[k])
            found += 1
    sent = found
    if count_tokens(away) > 0:
        here[sent] = net.gateway[chip]
        set_tokens(tokens, sent, away)
        sent += 1
    first, last = np.empty(sent, dtype=np.int64), np.empty(sent, dtype=np.int64)
    scatter_local(net, first_ps, last_ps, source, here, tokens, sent, flits, first, last)
    for k in range(found):
        firsts_ps[index[k]], arrivals_ps[index[k]] = first[k], last[k]
    return int(last[sent - 1])


@allocating
def _cross_chips(
    net: Network,
    after: Int64,
    home: int,
    wanted: UInt64,
    flits: int,
    first_ps: Int64,
    last_ps: Int64,
) -> None:
    """Send tokens from one chip to all that want some, each once over a link between chips.

    Args:
        net: the network.
        after: its next chips.
        home: sending chip, whose `first_ps` and `last_ps` are known.
        wanted: [chips, words], tokens that each chip takes.
        flits: flits per vector.
        first_ps: in and out, [chips], when the first token is at the gateway.
        last_ps: in and out, [chips], when the last one is.
    """
    chips, words = wanted.shape
    behind = np.zeros((chips, words), dtype=np.uint64)  # tokens that reach or pass a chip
    for chip in range(chips):
        at = home
        while at != chip and count_tokens(wanted[chip]) > 0:
            at = after[at, chip]
            for w in range(words):
                behind[at, w] |= wanted[chip, w]
    sent = np.zeros(chips, dtype=np.uint8)
    for chip in range(chips):
        at = home
        while at != chip and count_tokens(wanted[chip]) > 0:
            to = after[at, chip]
            if sent[to] == 0:
                sent[to] = 1
                n = count_tokens(behind[to])
                link = net.chip_link[at, chip]
                last_ps[to] = take_chip_link(net, link, first_ps[at], last_ps[at], flits, n)
                first_ps[to] = last_ps[to] - _chip_span(net, flits, n)
            at = to


@allocating
def reduce_between(
    net: Network,
    after: Int64,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    count: int,
    target: int,
    flits: int,
) -> int:
    """`reduce_train` from several chips."""
    if after.ndim == 1:
        return ZERO
    home, chips, words = net.chip[target], net.gateway.size, masks.shape[1]
    first, last = np.zeros(chips, dtype=np.int64), np.zeros(chips, dtype=np.int64)
    tokens = np.zeros((chips, words), dtype=np.uint64)
    farthest = 0
    distance = np.zeros(chips, dtype=np.int64)
    for chip in range(chips):
        at = chip
        while at != home:
            at = after[at, home]
            distance[chip] += 1
        farthest = max(farthest, distance[chip])
    # Room for the sources of one chip and, at home, for the gateway.
    ready = np.empty((2, count + 1), dtype=np.int64)
    here = np.empty(count + 1, dtype=np.int64)
    marks = np.empty((count + 1, words), dtype=np.uint64)
    for chip in range(chips):
        if chip == home:
            continue
        found = _sources_on(net, chip, first_ps, last_ps, sources, masks, count, ready, here, marks)
        if found > 0:
            for k in range(found):
                for w in range(words):
                    tokens[chip, w] |= marks[k, w]
            last[chip] = reduce_local(
                net, ready[0], ready[1], here, marks, found, net.gateway[chip], flits
            )
            first[chip] = last[chip] - _noc_span(net, flits, count_tokens(tokens[chip]))
    for hops in range(farthest, 0, -1):
        for chip in range(chips):
            n = count_tokens(tokens[chip])
            if distance[chip] == hops and n > 0:
                to, link = after[chip, home], net.chip_link[chip, home]
                tail = take_chip_link(net, link, first[chip], last[chip], flits, n)
                last[to] = max(last[to], tail)
                first[to] = max(first[to], tail - _chip_span(net, flits, n))
                for w in range(words):
                    tokens[to, w] |= tokens[chip, w]
    found = _sources_on(net, home, first_ps, last_ps, sources, masks, count, ready, here, marks)
    here[found] = net.gateway[home]
    set_tokens(marks, found, tokens[home])
    ready[0, found], ready[1, found] = first[home], last[home]
    return reduce_local(net, ready[0], ready[1], here, marks, found + 1, target, flits)


@inner
def _sources_on(
    net: Network,
    chip: int,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    count: int,
    ready: Int64,
    here: Int64,
    marks: UInt64,
) -> int:
    """Pick the sources on one chip; return how many there are."""
    found = 0
    for k in range(count):
        if net.chip[sources[k]] == chip:
            ready[0, found], ready[1, found] = first_ps[k], last_ps[k]
            here[found] = sources[k]
            set_tokens(marks, found, masks[k])
            found += 1
    return found
