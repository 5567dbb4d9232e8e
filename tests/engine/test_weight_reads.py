"""Weights of digital matrices: read once for the tokens that share them, charged once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cimsim.engine.flights import build_flights
from cimsim.engine.weight_reads import count_weight_reads
from cimsim.workload.trace import RoutingTrace
from tests.engine.chips import make_config, make_shape, make_system
from tests.engine.test_engine import run


def trace_of(chosen: list[list[int]], length: int) -> RoutingTrace:
    """One layer; tokens of sequences of equal length."""
    experts = np.array(chosen, dtype=np.int16)[:, None, :]
    tokens = np.arange(len(chosen))
    return RoutingTrace(experts, tokens // length, tokens % length, 4)


def test_a_flight_of_prefill_reads_an_expert_once_however_many_tokens_chose_it() -> None:
    trace = trace_of([[0, 1], [0, 1], [0, 2], [3, 2]], length=4)
    flights = build_flights(make_config(run={"flight_tokens": 2}), trace, "prefill", 1)
    reads = count_weight_reads(flights, trace.experts, 4, batch=1)
    # Flights {0, 1} and {0, 2, 3}: five experts over two flights.
    assert reads.dense == 1
    assert reads.experts == (Fraction(5, 2),)


def test_sequences_of_a_decode_step_share_a_read() -> None:
    trace = trace_of([[0, 1], [0, 1], [0, 2], [3, 2]], length=2)
    flights = build_flights(make_config(), trace, "decode", 2)
    reads = count_weight_reads(flights, trace.experts, 4, batch=2)
    # Steps: tokens 0 and 2 choose {0, 1, 2}, tokens 1 and 3 choose {0, 1, 2, 3}.
    assert reads.dense == Fraction(2, 4)
    assert reads.experts == (Fraction(7, 4),)


def test_alone_every_token_reads_what_it_uses() -> None:
    trace = trace_of([[0, 1], [0, 1], [0, 2], [3, 2]], length=2)
    flights = build_flights(make_config(), trace, "decode", 1)
    reads = count_weight_reads(flights, trace.experts, 4, batch=1)
    assert reads.dense == 1
    assert reads.experts == (2,)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_chip_without_crossbars_reads_every_weight_digitally(batch: int) -> None:
    config = make_config(
        chip={"analog_parts": []},
        memory={"kind": "hbm2"},
        digital={"units": 2, "weight_sram_kb": 0, "kv_sram_kb": 4096},
    )
    system = make_system(shape=make_shape(layers=1), config=config, sequences=2, length=4)
    counts = run(system, "decode", batch=batch).counts
    layer = system.program.layers[0]
    dense = sum(m.size for m in (*layer.attention, *layer.router, *layer.shared))
    dense += system.program.head.size
    expert = sum(m.size for m in layer.experts[0])
    chosen = system.trace.experts[:, 0].reshape(2, 4, -1)
    if batch == 1:
        steps, visits = 8, chosen.size
    else:
        steps = 4
        visits = sum(len(np.unique(chosen[:, i])) for i in range(4))
    due = steps * dense + visits * expert
    # Means are rounded up to a byte per matrix and flight.
    assert due <= counts.weight_read_bytes <= due + 8 * 16
    assert counts.dram_read_bytes["weights"] == counts.weight_read_bytes
    assert not counts.unit_vectors
