"""The tables of a run as one reference that kernels pass on.

Kernels that take forty arrays by value spend their time copying and counting references.
`Machine` is one pointer to them; the arrays in it own nothing (their owner, `Tables`, must
outlive the call), so reading one costs a load and no atomic operation.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-return,call-arg"

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.experimental import structref
from numba.extending import intrinsic

from cimsim.engine.machine import Tables
from cimsim.engine.network import Network
from cimsim.engine.noc.packet import PacketState

__all__ = ["Machine", "borrow"]

FIELDS = (
    "now",
    "fixed",
    "flight",
    "stream",
    "step",
    "site",
    "server",
    "digital",
    "dram",
    "tile",
    "slot",
    "expert",
    "job_ps",
    "attention_ps",
    "embed_ps",
    "published",
    "prefix",
    "servers",
    "tiles",
    "ins",
    "pairs",
    "outs",
    "group_ptr",
    "group_sites",
    "expert_sites",
    "token_key",
    "experts",
    "releases",
    "drawing",
    "pool",
    "masks",
    "heap",
    "stream_queue",
    "slot_queue",
    "followed",
    "visit_log",
    "job_log",
    "load_log",
    "requests",
    "scratch",
    "scratch_tiles",
    "ports",
    "port_masks",
    "times",
    "net",
)


@structref.register
class MachineType(types.StructRef):
    """Numba's type of `Machine`."""


class Machine(structref.StructRefProxy):
    """Fields of `Tables` by reference; made by `borrow`, read in kernels only."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


structref.define_proxy(Machine, MachineType, list(FIELDS))


@intrinsic
def _bare(_context, array):
    """Return a view of an array without its owner."""

    def codegen(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, value=arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), codegen


@njit(cache=True)
def _borrow_network(net: Network) -> Network:
    packet = net.packet
    return Network(
        PacketState(
            _bare(packet.config), _bare(packet.reserved), _bare(packet.used), _bare(packet.scratch)
        ),
        _bare(net.router),
        _bare(net.flags),
        _bare(net.mark),
        _bare(net.head),
        _bare(net.tail),
        _bare(net.union),
        _bare(net.spans),
        _bare(net.chip),
        _bare(net.gateway),
        _bare(net.after),
        _bare(net.chip_link),
        _bare(net.between),
    )


@njit(cache=True)
def borrow(t: Tables) -> Machine:
    """Return a reference to the tables, which must outlive it."""
    return Machine(
        _bare(t.now),
        _bare(t.fixed),
        _bare(t.flight),
        _bare(t.stream),
        _bare(t.step),
        _bare(t.site),
        _bare(t.server),
        _bare(t.digital),
        _bare(t.dram),
        _bare(t.tile),
        _bare(t.slot),
        _bare(t.expert),
        _bare(t.job_ps),
        _bare(t.attention_ps),
        _bare(t.embed_ps),
        _bare(t.published),
        _bare(t.prefix),
        _bare(t.servers),
        _bare(t.tiles),
        _bare(t.ins),
        _bare(t.pairs),
        _bare(t.outs),
        _bare(t.group_ptr),
        _bare(t.group_sites),
        _bare(t.expert_sites),
        _bare(t.token_key),
        _bare(t.experts),
        _bare(t.releases),
        _bare(t.drawing),
        _bare(t.pool),
        _bare(t.masks),
        _bare(t.heap),
        _bare(t.stream_queue),
        _bare(t.slot_queue),
        _bare(t.followed),
        _bare(t.visit_log),
        _bare(t.job_log),
        _bare(t.load_log),
        _bare(t.requests),
        _bare(t.scratch),
        _bare(t.scratch_tiles),
        _bare(t.ports),
        _bare(t.port_masks),
        _bare(t.times),
        _borrow_network(t.net),
    )
