"""Steps of a flight as columns: where each runs, how long its job takes, what it visits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.config import ChipConfig
from cimsim.engine.flights import Flights
from cimsim.engine.sites import RESULT_BITS
from cimsim.engine.steps import Step
from cimsim.workload.operations import Multiply, Operation, Project
from cimsim.workload.program import Program

__all__ = ["StepTable", "make_step_table"]

Int64 = NDArray[np.int64]
NONE = -1


@dataclass(frozen=True)
class StepTable:
    """One row a step of a flight.

    Attributes:
        chip: [steps], chip whose digital units run the job: where the layer sits.
        digital: [steps], first digital unit of that chip.
        job_ps: [steps, largest flight + 1], time of a job by tokens of the flight.
        attention: [steps], row of `attention_ps` that replaces `job_ps`, or -1.
        attention_ps: [rows, flights].
        kv: [steps], layer whose keys and values the job reads, or -1.
        group: [steps], group visited or -1.
        moe: [steps], MoE layer visited or -1.
        shared: [steps], group of the shared block or -1.
        summed: [steps], whether results are added on their way back.
        in_flits: [steps], flits of what one token sends to the visit.
        out_flits: [steps], flits of one summed result vector.
    """

    chip: Int64
    digital: Int64
    job_ps: Int64
    attention: Int64
    attention_ps: Int64
    kv: Int64
    group: Int64
    moe: Int64
    shared: Int64
    summed: Int64
    in_flits: Int64
    out_flits: Int64


def make_step_table(
    config: ChipConfig,
    program: Program,
    flights: Flights,
    steps: list[Step],
    chip: Int64,
    group_of: Mapping[tuple[UnitKey, str], int],
    digital_ps: Callable[[int, int], int],
) -> StepTable:
    """Return the columns of a phase.

    Args:
        config: the chip.
        program: the decoder.
        flights: which tokens travel together.
        steps: of every flight.
        chip: [steps], chip of each.
        group_of: group of a fixed unit and part of it.
        digital_ps: time of a job on one digital unit, from MACs and elements.
    """
    attention, attention_ps = _attention_times(program, digital_ps, flights, steps)
    group = [group_of[_unit_key(s), s.unit[1]] if s.unit else NONE for s in steps]
    shared = [group_of[UnitKey(s.layer, "shared"), "all"] if s.shared else NONE for s in steps]
    return StepTable(
        chip=chip,
        digital=chip * config.digital.units,
        job_ps=_job_times(digital_ps, flights, steps),
        attention=attention,
        attention_ps=attention_ps,
        kv=np.array([s.kv_layer for s in steps], dtype=np.int64),
        group=np.array(group, dtype=np.int64),
        moe=np.array([s.moe_layer for s in steps], dtype=np.int64),
        shared=np.array(shared, dtype=np.int64),
        summed=np.array([s.moe_layer != NONE or s.shared for s in steps], dtype=np.int64),
        in_flits=np.array([_in_flits(s, program, config) for s in steps], dtype=np.int64),
        out_flits=np.full(len(steps), _flits(program.d_model * RESULT_BITS, config)),
    )


def _job_times(digital_ps: Callable[[int, int], int], flights: Flights, steps: list[Step]) -> Int64:
    """Return the time of every job without attention, [steps, largest flight + 1]."""
    largest = int(flights.size.max())
    table = np.zeros((len(steps), largest + 1), dtype=np.int64)
    cache: dict[tuple[int, int], int] = {(0, 0): 0}
    for n in np.unique(flights.size).tolist():
        for i, step in enumerate(steps):
            key = (n * sum(step.work.macs.values()), n * sum(step.work.elements.values()))
            if key not in cache:
                cache[key] = int(digital_ps(*key))
            table[i, n] = cache[key]
    return table


def _attention_times(
    program: Program,
    digital_ps: Callable[[int, int], int],
    flights: Flights,
    steps: list[Step],
) -> tuple[Int64, Int64]:
    """Return times of the jobs that attend, which depend on the context of the flight."""
    rows: dict[tuple[int, int], int] = {}
    of_step = np.full(len(steps), NONE, dtype=np.int64)
    for i, step in enumerate(steps):
        if step.kv_layer != NONE:
            key = (sum(step.work.macs.values()), sum(step.work.elements.values()))
            of_step[i] = rows.setdefault(key, len(rows))
    shapes = np.stack([flights.size, flights.context_sum()], axis=1)
    unique, inverse = np.unique(shapes, axis=0, return_inverse=True)
    times = np.zeros((len(rows), len(unique)), dtype=np.int64)
    for (macs, elements), row in rows.items():
        for j, (n, context) in enumerate(unique.tolist()):
            times[row, j] = digital_ps(
                n * macs + context * program.heads.macs_per_position,
                n * elements + context * program.n_heads,
            )
    return of_step, np.ascontiguousarray(times[:, inverse.ravel()])


def _unit_key(step: Step) -> UnitKey:
    assert step.unit is not None  # noqa: S101 - asked only of steps that visit a fixed unit
    return UnitKey(step.layer, step.unit[0])


def _in_flits(step: Step, program: Program, config: ChipConfig) -> int:
    operation = program.operations[step.operation] if step.unit else None
    return _flits(_sent(operation, program) * config.tile.input.bits, config)


def _sent(operation: Operation | None, program: Program) -> int:
    match operation:
        case Project():
            return operation.n_in
        case Multiply():
            return operation.sent
    return program.d_model


def _flits(bits: int, config: ChipConfig) -> int:
    return max(1, -(-bits // config.noc.flit_bits))
