"""Chips, models and counts that the cost tests share."""

from __future__ import annotations

from typing import Any

from cimsim.chip import ChipMesh, Unit, analog_units, build_mesh
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, CostModel
from cimsim.workload.blocks import Blocks, Mixture
from cimsim.workload.heads import Heads
from cimsim.workload.program import Program


def chip(**sections: Any) -> ChipConfig:
    """A 32 nm ReRAM chip like the defaults, with the given sections."""
    return ChipConfig.model_validate({"name": "test", **sections})


def small_program(d: int = 64, experts: int = 4, d_ff: int = 32, layers: int = 2) -> Program:
    """A small MoE decoder."""
    blocks = Blocks(256, d, Heads(4, 4, d // 4))
    operations = [blocks.embed()]
    for layer in range(layers):
        operations += blocks.attention(layer)
        operations += blocks.mixture(layer, Mixture(experts, 2, d_ff))
    return Program("small", (*operations, *blocks.head(layers)))


def assemble(
    config: ChipConfig, program: Program | None = None
) -> tuple[CostModel, ChipMesh, tuple[Unit, ...]]:
    """The cost model, mesh and units of a chip that runs the small or the given program."""
    program = program or small_program()
    units = analog_units(program, config)
    mesh = build_mesh(config, max(1, sum(u.crossbars for u in units)))
    return CostModel(config, mesh, program), mesh, units


def full_counts(units: tuple[Unit, ...], *, dram: bool = True) -> ActionCounts:
    """Counts in which every component acts."""
    return ActionCounts(
        phase="decode",
        tokens=8,
        makespan_ps=2_000_000,
        unit_vectors={u.key: 8 + i for i, u in enumerate(units)},
        router_bits=100_000,
        link_bits=60_000,
        digital_macs={"attention": 5_000, "linear": 700, "correction": 90},
        digital_elements={
            "norm": 640,
            "rope": 320,
            "softmax": 128,
            "router": 64,
            "activation": 512,
            "combine": 256,
            "embedding": 64,
            "correction": 32,
        },
        buffer_read_bits=40_000,
        buffer_write_bits=20_000,
        psum_bits=9_600,
        dram_read_bytes={"weights": 1_000, "switch": 500, "kv": 64} if dram else {},
        dram_write_bytes={"kv": 16} if dram else {},
        kv_read_bytes=4_096,
        kv_write_bytes=128,
        programmed={units[0].key: 2} if units else {},
        busy_ps={"tile": 3_000_000, "digital": 500_000, "noc_link": 100_000},
    )
