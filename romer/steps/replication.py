"""Replication: copies of a unit answer together and their outputs are averaged.

Copies have independent programming errors, so the mean of n has 1/n of the error's
variance. `average_copies` uses the copies of experts that the placement made, and gives up
splitting the load among them; `copy_dense` programs further copies of attention and routers
into crossbars that hold nothing: every token passes these few matrices, so that a small
part of the cells decides over most of the error.
"""

from __future__ import annotations

from dataclasses import replace

from cimsim.model import Correction, Replica
from cimsim.workload.matrix import NO_EXPERT, AnalogPart
from romer.record import Routers
from romer.registry import register_step
from romer.steps.trim import trimmed_again
from romer.task import Task

__all__ = ["MOST_COPIES", "average_copies", "copy_dense"]

MOST_COPIES = 4  # of attention and routers: each copy is read for every token
DENSE_PARTS: tuple[AnalogPart, ...] = ("attention", "router")


@register_step("average_copies")
def average_copies(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Average the copies of every expert that has more than one."""
    found = tuple(
        Replica(layer, expert, copies)
        for layer, load in routers().load.items()
        for expert in range(len(load))
        if (copies := task.deployment.copies(layer, expert)) > 1
    )
    return replace(correction, replicas=found) if found else correction


@register_step("copy_dense")
def copy_dense(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Average the copies of attention and routers, and add copies where crossbars are idle."""
    del routers
    chip = task.deployment
    parts = [p for p in DENSE_PARTS if p in task.analog and p not in correction.offload_parts]
    room = chip.room_for(parts)
    found = []
    for layer in task.decoder.checkpoint.program.layers:
        for part in parts:
            placed = chip.copies(layer.index, NO_EXPERT, part)
            copies = max(placed, min(MOST_COPIES, placed + room))
            if placed and copies > 1:
                found.append(Replica(layer.index, NO_EXPERT, copies, part))
    if not found:
        return correction
    matrices = task.decoder.program.matrices() if correction.trims else ()
    dense = {m.id for m in matrices if m.id.part in parts}
    copied = replace(correction, replicas=(*correction.replicas, *found))
    return trimmed_again(task, copied, dense)
