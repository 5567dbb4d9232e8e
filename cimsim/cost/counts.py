"""What the engine counted in one phase: the input of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cimsim.chip import UnitKey

__all__ = ["ActionCounts", "Density"]


@dataclass(frozen=True)
class Density:
    """How busy the cells of one unit are when it is read; energy depends on it.

    Attributes:
        input_bit_density: mean input code over the greatest code, which for one-bit inputs is
            the share of bits that are one; in [0, 1].
        mean_level_fraction: mean conductance of the used cells over g_max, the lowest level's
            included (SRAM: share of ones); in [0, 1].
        origin: measured, default (documented) or chip file.
        skipped_share: share of reads that no input asked for and that were left out
            (`tile.input.skip_zeros`).
        recovered_share: conversions made in recovery cycles over those of all their columns
            (`tile.dac.recovery_bits`).
        recovery_bit_density: as `input_bit_density`, of recovery cycles.
        search_cycles: mean comparisons of a conversion (`tile.adc.search`), 0 where not counted.
    """

    input_bit_density: float
    mean_level_fraction: float
    origin: str = "measured"
    skipped_share: float = 0.0
    recovered_share: float = 0.0
    recovery_bit_density: float = 0.0
    search_cycles: float = 0.0


@dataclass(frozen=True)
class ActionCounts:
    """Actions of one phase, over the whole chip.

    Attributes:
        phase: prefill, decode, programming or calibration.
        tokens: tokens completed.
        makespan_ps: time from the first to the last event.
        unit_vectors: input vectors multiplied by each unit, all copies together.
        router_bits: bits x routers passed.
        link_bits: bits x links between routers, each by its length over that of a mesh.
        chip_link_bits: bits x links between chips.
        io_in_bytes, io_out_bytes: between the system and its host: token ids, logits.
        digital_macs: MACs by use: attention, linear, correction.
        digital_elements: elementwise operations by use: norm, rope, softmax, router,
            activation, combine, embedding, correction, input_maximum, input_reciprocal,
            input_scaling.
        buffer_read_bits: bits read from tile buffers.
        buffer_write_bits: bits written to tile buffers.
        psum_bits: bits of partial sums moved between crossbars, PEs and tiles.
        dram_read_bytes: bytes by use: weights, kv, switch, embedding.
        dram_write_bytes: bytes by use.
        kv_read_bytes: bytes of keys and values read, wherever the cache lives.
        kv_write_bytes: bytes of keys and values written.
        weight_read_bytes: weight bytes that digital units read from their weight memory,
            once for all tokens of a prefill flight or of a decode step.
        programmed: how often each unit was written.
        tier_switches: how often tiles made another of their tiers the active one.
        busy_ps: busy time summed over the resources of a kind: tile, digital, noc_link,
            dram, program.
    """

    phase: str
    tokens: int
    makespan_ps: int
    unit_vectors: Mapping[UnitKey, int] = field(default_factory=dict)
    router_bits: int = 0
    link_bits: int = 0
    chip_link_bits: int = 0
    io_in_bytes: int = 0
    io_out_bytes: int = 0
    digital_macs: Mapping[str, int] = field(default_factory=dict)
    digital_elements: Mapping[str, int] = field(default_factory=dict)
    buffer_read_bits: int = 0
    buffer_write_bits: int = 0
    psum_bits: int = 0
    dram_read_bytes: Mapping[str, int] = field(default_factory=dict)
    dram_write_bytes: Mapping[str, int] = field(default_factory=dict)
    kv_read_bytes: int = 0
    kv_write_bytes: int = 0
    weight_read_bytes: int = 0
    programmed: Mapping[UnitKey, int] = field(default_factory=dict)
    tier_switches: int = 0
    busy_ps: Mapping[str, int] = field(default_factory=dict)
