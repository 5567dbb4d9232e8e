"""Registers in the adder trees of a digital crossbar: more throughput for more of them.

A tree over R rows has L = ceil(log2 R) levels of adders. N ranks of registers cut it as evenly as
levels allow; the longest section has ceil(L / (N + 1)) of them. The levels share the time of an
uncut read evenly, and a register takes its set-up and output time, so one read takes

    t = t_read x ceil(L / (N + 1)) / L + t_register,

and the first result leaves N reads later. After l levels stand ceil(R / 2^l) sums of w + l bits, a
register a bit, in each of the trees of an output (d of d input bits; with Booth recoding one for
two bits, one bit wider). Bit-serial and bit-parallel macros differ in d, `tile.dac.bits`. Carries
that ripple across a cut, and the clock's load beside the gate of a register, are not modelled.
"""

from __future__ import annotations

from math import ceil

from cimsim.config import ChipConfig
from cimsim.elementary import log2
from cimsim.errors import CimsimError
from cimsim.units import ps_from_ns

__all__ = ["pipelined_ps", "register_bits"]


def pipelined_ps(config: ChipConfig, read_ps: int) -> int:
    """Return the time of one read of a digital crossbar whose uncut read takes `read_ps`.

    Raises:
        CimsimError: if the tree has fewer levels than ranks of registers.
    """
    ranks, register_ns = config.cost.tree_registers, config.cost.register_ns
    if not ranks or register_ns is None:
        return read_ps
    levels = _levels(config)
    longest = ceil(levels / (ranks + 1))
    return ceil(read_ps * longest / levels) + ps_from_ns(register_ns)


def register_bits(config: ChipConfig) -> int:
    """Return the registers in the trees of one output.

    Raises:
        CimsimError: if the tree has fewer levels than ranks of registers.
    """
    ranks = config.cost.tree_registers
    if not ranks:
        return 0
    tile, levels = config.tile, _levels(config)
    rows, inputs, booth = tile.crossbar.rows_at_once, tile.dac.bits, config.cost.booth
    trees = ceil(inputs / 2) if booth else inputs
    width = tile.weight.bits + booth
    cuts = [rank * levels // (ranks + 1) for rank in range(1, ranks + 1)]
    return trees * sum(-(-rows // (1 << level)) * (width + level) for level in cuts)


def _levels(config: ChipConfig) -> int:
    """Return the levels of a tree, at least one for every rank of registers."""
    levels = max(1, ceil(log2(config.tile.crossbar.rows_at_once)))
    if config.cost.tree_registers > levels:
        raise CimsimError(
            "cuts a tree more often than it has levels",
            key="cost.tree_registers",
            value=config.cost.tree_registers,
            allowed=f"at most {levels} with {config.tile.crossbar.rows_at_once} rows at once",
        )
    return levels
