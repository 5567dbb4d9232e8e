"""What inputs cost on their way to codes: the maximum of a vector, the product with its scale.

A vector x of n inputs is driven as codes round(x / s). `tile.input.scale` says what s is, and
`cost.input_scale: charged` charges what that takes::

    static        nothing: one constant, which the digital scale of what makes the inputs holds
    per_token     n compares, a look-up of the reciprocal, n 16-bit products
    per_channel   n 16-bit products, n 16-bit scales read from a memory (SRAM fit)

Inputs that come over the network are scaled by the digital unit that sends them, once for all the
matrices that take them, `digital.lanes` a cycle: scales of tokens take every vector twice, for its
maximum and for its codes. Between gate and up and down a scaler in the tile does it. It is as wide
as it must be (assumed): crossbars of a PE hold other rows, PEs other columns, so that a tile scales
r = `pe.crossbars` x `crossbar.rows` inputs at most, with b lanes that do so while a vector is read;
longer vectors are those of several tiles. It compares results as they come. What it adds to the
latency of a vector of n is, in clocks, with m = min(n, r),

    per_token     ceil(log2 b) + 1 + ceil(m / b)     tree of comparators, reciprocal, products
    per_channel   1                                  products as results come

and it takes a vector every ceil(m / b) clocks. Its area is a 16-bit multiplier a lane, and a
comparator (per_token) or a memory of r scales (per_channel). That tiles which share a vector tell
each other their maxima is not modelled.
"""

from __future__ import annotations

from math import ceil, log2

from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig
from cimsim.cost.buffers import SRAM_CONSTANTS, coefficient_sram, scaled_rows
from cimsim.cost.digital import SCALER_CONSTANTS, element_fj, scaler_um2
from cimsim.cost.price import Price
from cimsim.units import period_ps, ps_from_ns

__all__ = ["is_charged", "price_input_scale", "scaled_elements", "scaler_ps"]


def is_charged(config: ChipConfig) -> bool:
    """Whether bringing inputs to codes takes energy, time and area on this chip."""
    return config.cost.input_scale == "charged" and config.tile.input.scale != "static"


def scaled_elements(config: ChipConfig, inputs: int, vectors: int = 1) -> dict[str, int]:
    """Return the elementwise operations of bringing inputs to codes, by use.

    Args:
        config: the chip.
        inputs: of all vectors.
        vectors: how many they are.
    """
    if not is_charged(config) or not inputs:
        return {}
    scaled = {"input_scaling": inputs}
    if config.tile.input.scale == "per_channel":
        return scaled
    return {"input_maximum": inputs, "input_reciprocal": vectors} | scaled


def scaler_ps(config: ChipConfig, inputs: int) -> tuple[int, int]:
    """Return what the scaler of a tile adds to the latency of a vector, and its interval."""
    if not is_charged(config):
        return 0, 0
    clock, lanes = period_ps(config.technology.clock_ghz), _lanes(config)
    passes = ceil(min(inputs, scaled_rows(config.tile)) / lanes)
    if config.tile.input.scale == "per_channel":
        return clock, passes * clock
    return (ceil(log2(lanes)) + 1 + passes) * clock, passes * clock


def price_input_scale(config: ChipConfig) -> Price | None:
    """Return the cost of a tile's scaler, an action is one input; None if it is not charged."""
    if not is_charged(config):
        return None
    by_channel = config.tile.input.scale == "per_channel"
    each = {use: n for use, n in scaled_elements(config, 1).items() if use != "input_reciprocal"}
    energy = sum(n * element_fj(config, use) for use, n in each.items())
    area_um2 = _lanes(config) * scaler_um2(config)
    memory = coefficient_sram(config)
    return Price(
        "input_scale",
        energy,
        f"{_lanes(config)} multipliers of 16 bits with "
        + ("a memory of scales" if by_channel else "comparators"),
        area_um2=area_um2 + (memory.area_um2 if by_channel else 0.0),
        leakage_uw=memory.leakage_uw if by_channel else None,
        idle=config.cost.idle.tile,
        constants=SCALER_CONSTANTS + (SRAM_CONSTANTS if by_channel else ()),
        notes=memory.notes if by_channel else (),
    )


def _lanes(config: ChipConfig) -> int:
    """Return the inputs that a tile's scaler takes a clock."""
    tile = config.tile
    reads_ps = column_layout(tile).cycles * ps_from_ns(tile.crossbar.read_ns)
    return ceil(scaled_rows(tile) * period_ps(config.technology.clock_ghz) / reads_ps)
