"""What a run counted: actions of the energy ledger, exact integers.

Actions that follow from tokens and routing alone (products, digital operations, bytes of
keys and values) are counted in closed form from the plan; those that depend on how the run
went (bits on links, weights fetched, units written) come from the engine. The engine's own
count of vectors must equal the closed form: tokens in, tokens out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts
from cimsim.cost.input_scale import scaled_elements
from cimsim.engine.memory import EMBEDDING_BYTES, kv_traffic, most_kv_layers
from cimsim.engine.noc.packet import BUSY_PS, FLITS
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun
from cimsim.engine.steps import NONE, Step
from cimsim.errors import CimsimInternalError
from cimsim.workload.program import Program

__all__ = ["check_conservation", "count_run", "tile_busy_ps"]

Int64 = NDArray[np.int64]
RESULT_BYTES = 2
"""Bytes of a result (bfloat16): all logits of a token leave, sampling is the host's."""


def count_run(
    config: ChipConfig, program: Program, plan: Plan, raw: RawRun, makespan_ps: int
) -> ActionCounts:
    """Count the actions of a run."""
    flights = plan.flights
    tokens = int(flights.size.sum())
    macs, elements, streamed = _digital_work(config, program, plan, tokens)
    concurrency = min(plan.concurrency, flights.n_streams)
    kv_layers = most_kv_layers(plan.step.kv, plan.step.chip)
    traffic = kv_traffic(config, program, flights, concurrency, kv_layers)
    layers = int(np.sum(plan.step.kv != NONE))
    off_chip = config.memory.kind != "none"
    fetched = int((raw.loads * plan.slots.fetch_bytes).sum())
    reads = {
        "weights": streamed * flights.count,
        "kv": layers * int(traffic.dram_read.sum()),
        "switch": fetched,
        "embedding": tokens * program.d_model * EMBEDDING_BYTES if off_chip else 0,
    }
    links = plan.transport.first_port_link
    crossed = plan.transport.first_chip_link
    ports = raw.link_used[links:crossed]
    flits = raw.link_used[:links, FLITS]
    between, lengths = int(flits.sum()), plan.transport.shape.link_lengths()
    wires = between if lengths is None else round(float(flits @ lengths))
    # Every flit that leaves a router goes to another router or out of an ejection port.
    passed = between + int(ports[1::2, FLITS].sum())
    buffered_in, buffered_out = _buffer_bits(plan, raw)
    written = {plan.copies.expert_units[e]: int(n) for e, n in enumerate(raw.loads.tolist()) if n}
    return ActionCounts(
        phase=plan.phase,
        tokens=tokens,
        makespan_ps=makespan_ps,
        unit_vectors=_unit_vectors(plan, raw),
        router_bits=passed * config.noc.flit_bits,
        link_bits=wires * config.noc.flit_bits,
        chip_link_bits=int(raw.link_used[crossed:, FLITS].sum()) * config.noc.flit_bits,
        io_in_bytes=tokens * program.inputs_bytes(config.tile.input.bits),
        io_out_bytes=tokens * program.outputs * RESULT_BYTES,
        digital_macs=macs,
        digital_elements=elements,
        buffer_read_bits=buffered_in + buffered_out,
        buffer_write_bits=buffered_in + buffered_out,
        psum_bits=int((raw.site_vectors * plan.sites.psum_bits).sum()),
        dram_read_bytes={k: v for k, v in reads.items() if v},
        dram_write_bytes={"kv": layers * int(traffic.dram_written.sum())},
        kv_read_bytes=layers * int(traffic.read.sum()),
        kv_write_bytes=layers * int(traffic.written.sum()),
        weight_read_bytes=flights.count * sum(s.work.weight_bytes for s in plan.steps),
        programmed=written,
        tier_switches=int(raw.tier_switches.sum()),
        busy_ps={
            "tile": int(tile_busy_ps(plan, raw.server_busy_ps).sum()),
            "digital": int(raw.digital_busy_ps.sum()),
            "noc_link": int(raw.link_used[:links, BUSY_PS].sum()),
            "dram": int(raw.dram_busy_ps.sum()) * (plan.mesh.n_channels // plan.chips),
            "program": int(tile_busy_ps(plan, raw.server_write_ps).sum()),
        },
    )


def _digital_work(
    config: ChipConfig, program: Program, plan: Plan, tokens: int
) -> tuple[dict[str, int], dict[str, int], int]:
    """Return MACs and elements by use over all tokens, and bytes streamed per flight."""
    macs: dict[str, int] = {}
    elements: dict[str, int] = {}
    context = int(plan.flights.context_sum().sum())
    streamed = 0
    for step in plan.steps:
        for use, count in step.work.macs.items():
            macs[use] = macs.get(use, 0) + count * tokens
        for use, count in step.work.elements.items():
            elements[use] = elements.get(use, 0) + count * tokens
        if step.kv_layer != NONE:
            macs["attention"] = macs.get("attention", 0) + context * program.heads.macs_per_position
            elements["softmax"] = elements.get("softmax", 0) + context * program.n_heads
        if step.moe_layer != NONE or step.shared:
            _tile_work(program, step.layer, elements, tokens, shared=step.shared)
            _scale_hidden(config, program, step, elements, tokens)
        streamed += step.work.stream_bytes
    return macs, elements, streamed


def _tile_work(
    program: Program, layer: int, elements: dict[str, int], tokens: int, *, shared: bool
) -> None:
    """Add what tiles and routers do digitally: activations, and the sum over experts."""
    block = program.layers[layer]
    width = block.top_k * block.experts[0][0].n_out if block.is_moe else 0
    terms = block.top_k
    if shared:
        width += block.shared[0].n_out
        terms += 1
    elements["activation"] = elements.get("activation", 0) + tokens * width
    elements["combine"] = elements.get("combine", 0) + tokens * terms * program.d_model


def _scale_hidden(
    config: ChipConfig, program: Program, step: Step, elements: dict[str, int], tokens: int
) -> None:
    """Add what tiles do to bring the inputs of downs to codes."""
    layer = program.layers[step.layer]
    downs = [layer.experts[0][-1]] * layer.top_k if step.moe_layer != NONE else []
    # A product of any network is no pair of stages.
    downs += [m for m in layer.shared if step.shared and m.id.role.endswith("down")]
    work = scaled_elements(config, sum(m.n_in for m in downs), len(downs))
    for use, count in work.items():
        elements[use] = elements.get(use, 0) + tokens * count


def _buffer_bits(plan: Plan, raw: RawRun) -> tuple[int, int]:
    """Return bits of inputs and of results that tile buffers took in."""
    sites = plan.sites
    inputs = np.diff(sites.in_ptr) * sites.in_bits
    return (
        int((raw.site_vectors * inputs).sum()),
        int((raw.site_vectors * sites.out_bits).sum()),
    )


def _unit_vectors(plan: Plan, raw: RawRun) -> dict[UnitKey, int]:
    """Return the vectors of every unit; a token is one vector of attention, not two."""
    vectors: dict[UnitKey, int] = {}
    for group, key in enumerate(plan.copies.group_units):
        sites = plan.copies.group_sites[
            plan.copies.group_ptr[group] : plan.copies.group_ptr[group + 1]
        ]
        vectors[key] = int(raw.site_vectors[sites].sum()) * plan.placement.units[key].vectors
    for expert, key in enumerate(plan.copies.expert_units):
        vectors[key] = int(raw.expert_vectors[expert])
    return vectors


def tile_busy_ps(plan: Plan, server_ps: Int64) -> Int64:
    """Return busy time by tile: that of its PEs over their number, rounded down.

    Args:
        plan: the plan.
        server_ps: [servers], busy time of ADC groups.
    """
    sites = plan.sites
    busy = np.zeros(plan.mesh.n_tiles, dtype=np.int64)
    of_pair = np.repeat(np.arange(sites.n_servers), np.diff(sites.server_tile_ptr))
    np.add.at(busy, sites.server_tile, server_ps[of_pair] * sites.server_pes)
    return busy // sites.pes_per_tile


def check_conservation(plan: Plan, raw: RawRun) -> None:
    """Check that every token visited what it should and that latencies add up.

    Raises:
        CimsimInternalError: if an engine lost or invented work.
    """
    tokens = int(plan.flights.size.sum())
    layers, k = plan.experts.shape[1], plan.experts.shape[2]
    problems = []
    if plan.copies.expert_units and int(raw.expert_vectors.sum()) != tokens * layers * k:
        problems.append(f"{int(raw.expert_vectors.sum())} expert visits, {tokens * layers * k} due")
    for group, key in enumerate(plan.copies.group_units):
        sites = plan.copies.group_sites[
            plan.copies.group_ptr[group] : plan.copies.group_ptr[group + 1]
        ]
        if int(raw.site_vectors[sites].sum()) != tokens:
            problems.append(f"{int(raw.site_vectors[sites].sum())} vectors at {key}")
    off = raw.parts_ps.sum(axis=1) - (raw.done_ps - raw.enter_ps)
    if np.any(off != 0):
        problems.append(f"latency of flight {int(np.flatnonzero(off)[0])} is not its parts' sum")
    if np.any(raw.parts_ps < 0):
        problems.append("a part of a latency is negative")
    if problems:
        message = "the engine broke a conservation law: " + "; ".join(problems[:3])
        raise CimsimInternalError(message)
