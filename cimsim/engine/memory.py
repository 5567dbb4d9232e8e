"""Off-chip memory: bytes and channel time of weights, embeddings, keys and values.

Addresses are interleaved over the channels, so a request of B bytes takes B / channels of
each and all channels advance together: they are one server of their joint bandwidth, first
come first served, plus the time to the first byte, which overlaps with other requests.
Digital units read it through a port of their own; only weights for crossbars cross the
network on chip. Every chip of a system has memory of its own, for the layers that sit there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.engine.flights import Flights
from cimsim.engine.steps import Step
from cimsim.errors import CimsimError
from cimsim.units import ps_from_ns, transfer_ps
from cimsim.workload.program import Program

__all__ = [
    "EMBEDDING_BYTES", "KvTraffic", "MemoryTimes", "kv_traffic", "memory_times", "most_kv_layers",
]  # fmt: skip

Int64 = NDArray[np.int64]
EMBEDDING_BYTES = 2
"""Bytes of one number of the embedding table (bfloat16)."""


@dataclass(frozen=True)
class KvTraffic:
    """Bytes of keys and values of each flight in one layer.

    Attributes:
        read: [flights], all past positions, wherever they live.
        written: [flights].
        dram_read: [flights], the part of `read` that is off chip.
        dram_written: [flights].
        resident: positions of a stream that fit on chip.
    """

    read: Int64
    written: Int64
    dram_read: Int64
    dram_written: Int64
    resident: int


@dataclass(frozen=True)
class MemoryTimes:
    """Channel time of every kind of request, in ps.

    Attributes:
        channel_gb_per_s: bandwidth of one channel, in GB/s.
        channels: how many.
        latency_ps: time to the first byte.
        stream_ps: [steps], weights that a job streams.
        embed_ps: [largest flight + 1], embeddings of a flight.
        kv_read_ps, kv_write_ps: [flights], a layer.
    """

    channel_gb_per_s: float
    channels: int
    latency_ps: int
    stream_ps: Int64
    embed_ps: Int64
    kv_read_ps: Int64
    kv_write_ps: Int64

    def transfer_all(self, size_bytes: Int64) -> Int64:
        """Return the time that each channel is busy with requests of these sizes."""
        return _transfer(size_bytes, self.channel_gb_per_s, self.channels)


def most_kv_layers(kv_step: Int64, step_chip: Int64) -> int:
    """Return the layers with keys and values on the chip that has most of them.

    Args:
        kv_step: [steps], layer whose keys and values a step reads, or -1.
        step_chip: [steps], chip of each step.
    """
    return int(np.bincount(step_chip[kv_step >= 0]).max(initial=1))


def kv_traffic(
    config: ChipConfig, program: Program, flights: Flights, concurrency: int, layers: int
) -> KvTraffic:
    """Return the traffic of keys and values.

    A stream's cache of a layer lives in the memory of its digital unit there, shared evenly
    with the other streams in flight and layers; positions beyond that spill to DRAM.

    Args:
        config: the chip.
        program: the decoder.
        flights: which tokens travel together.
        concurrency: streams in flight at once.
        layers: layers that share the memory of one chip.

    Raises:
        CimsimError: if the cache doesn't fit on chip and there is no off-chip memory.
    """
    position_bytes = program.heads.position_bytes(config.memory.kv_bits)
    ends = flights.past + flights.size
    if config.memory.kv == "dram":
        resident = 0
    else:
        per_unit = -(-concurrency // config.digital.units)
        room = int(config.digital.kv_sram_kb * 1024)
        share = per_unit * layers * position_bytes
        resident = room // share if share else int(ends.max())  # nothing attends
    longest = int(ends.max())
    if resident < longest and config.memory.kind == "none":
        missing = (longest - resident) * layers * position_bytes
        raise CimsimError(
            f"keys and values of a sequence of {longest} positions don't fit on chip: "
            f"{missing} bytes short, and there is no off-chip memory",
            key="digital.kv_sram_kb",
            value=config.digital.kv_sram_kb,
            hint="enlarge it, or set memory.kind",
        )
    spilled = np.maximum(flights.past - resident, 0)
    return KvTraffic(
        read=flights.past * position_bytes,
        written=flights.size * position_bytes,
        dram_read=spilled * position_bytes,
        dram_written=(np.maximum(ends - resident, 0) - spilled) * position_bytes,
        resident=resident,
    )


def memory_times(
    config: ChipConfig,
    program: Program,
    flights: Flights,
    steps: list[Step],
    concurrency: int,
    layers: int,
) -> MemoryTimes:
    """Return the channel times of a phase; the last arguments are those of `kv_traffic`."""
    memory = config.memory
    traffic = kv_traffic(config, program, flights, concurrency, layers)
    rate, channels = memory.channel_gb_per_s, max(1, memory.channels)
    streamed = np.array([s.work.stream_bytes for s in steps], dtype=np.int64)
    tokens = np.arange(int(flights.size.max()) + 1, dtype=np.int64)
    embedded = tokens * program.d_model * EMBEDDING_BYTES
    if memory.kind == "none":
        # The embedding table is then held on chip, like every digital matrix.
        embedded = np.zeros_like(embedded)
    return MemoryTimes(
        channel_gb_per_s=rate,
        channels=channels,
        latency_ps=ps_from_ns(memory.latency_ns),
        stream_ps=_transfer(streamed, rate, channels),
        embed_ps=_transfer(embedded, rate, channels),
        kv_read_ps=_transfer(traffic.dram_read, rate, channels),
        kv_write_ps=_transfer(traffic.dram_written, rate, channels),
    )


def _transfer(size_bytes: Int64, rate_gbps: float, channels: int) -> Int64:
    sizes, inverse = np.unique(size_bytes, return_inverse=True)
    times = [transfer_ps(-(-b // channels), rate_gbps) if b else 0 for b in sizes.tolist()]
    return np.array(times, dtype=np.int64)[inverse.ravel()]
