"""Products of any network in time: hand-computed visits, and what a token of several vectors is."""

from __future__ import annotations

import pytest

from cimsim.chip import UnitKey
from cimsim.engine import EngineResult, simulate
from cimsim.workload.matrix import Matrix, MatrixId
from cimsim.workload.operations import Elements, Multiply
from cimsim.workload.program import Program
from tests.engine.chips import FakeCost, System, make_config, make_system


def network(vectors: int, sent: int, layers: int = 1) -> Program:
    """Return products of 64 inputs and outputs, each followed by 10 elements."""
    operations = []
    for layer in range(layers):
        weight = Matrix(MatrixId(layer, "product"), 64, 64, vectors)
        operations += [Multiply(layer, weight, sent), Elements(layer, "activation", 10)]
    return Program("network", tuple(operations))


def system(program: Program, length: int = 1, **chip: object) -> System:
    config = make_config(
        chip={"analog_parts": ["shared"], **chip},
        noc={"level": "packet"},
        memory={"kind": "none"},
        digital={"units": 1},
    )
    return make_system(
        program=program, config=config, cost=FakeCost(element_ps=7), sequences=1, length=length
    )


def run(system: System) -> EngineResult:
    return simulate(system, system.trace, phase="decode", batch=1, engine="simpy")


def test_vectors_of_a_token_follow_each_other_and_travel_together() -> None:
    chip = system(network(vectors=5, sent=100))
    result = run(chip)
    # 100 inputs of 8 bits are 25 flits, 5 x 64 results of 16 bits are 160; one router: interface,
    # injection link, router (3) and ejection link, then the rest of the packet, at 1 ns.
    there, back = (6 + 24) * 1000, (6 + 159) * 1000
    crossbars = len(chip.placement.seats[0].crossbars)
    inside = 5_000 + 5 * (100_000 + crossbars)
    assert result.latency_ps.tolist() == [there + inside + back + 10 * 7]
    counts = result.counts
    assert counts.unit_vectors == {UnitKey(0, "shared"): 5}
    assert counts.digital_elements == {"activation": 10}
    # Every vector enters and leaves a tile's buffer: 64 inputs of 8 bits, 64 results of 16.
    assert counts.buffer_read_bits == 5 * (64 * 8 + 64 * 16)
    assert (counts.io_in_bytes, counts.io_out_bytes) == (100, 5 * 64 * 2)
    assert counts.kv_read_bytes == counts.kv_write_bytes == 0


def test_layers_wait_for_each_other() -> None:
    one, three = (run(system(network(2, 128, n))).latency_ps[0] for n in (1, 3))
    assert three == pytest.approx(3 * one, rel=0.05)


def test_a_product_that_is_not_on_crossbars_is_digital_work() -> None:
    result = run(system(network(vectors=5, sent=100), analog_parts=["attention"]))
    assert result.counts.unit_vectors == {}
    assert result.counts.digital_macs == {"linear": 5 * 64 * 64}


def test_both_engines_agree_on_products() -> None:
    chip = system(network(3, 192, 4), length=8)
    found = [
        simulate(chip, chip.trace, phase=phase, batch=2, engine=engine)
        for phase in ("prefill", "decode")
        for engine in ("simpy", "compiled")
    ]
    for slow, fast in (found[:2], found[2:]):
        assert slow.latency_ps.tolist() == fast.latency_ps.tolist()
        assert slow.counts == fast.counts
