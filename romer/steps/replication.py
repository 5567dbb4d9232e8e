"""Replication: the copies of an expert answer together and their outputs are averaged.

Two copies have independent programming errors, so the mean of n copies has 1/n of the
error's variance. The copies are those that the placement put into idle crossbars: averaging
gives up splitting the load among them.
"""

from __future__ import annotations

from dataclasses import replace

from cimsim.model import Correction, Replica
from romer.record import Routers
from romer.task import Task

__all__ = ["average_copies"]


def average_copies(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Average the copies of every expert that has more than one."""
    found = tuple(
        Replica(layer, expert, copies)
        for layer, load in routers().load.items()
        for expert in range(len(load))
        if (copies := task.deployment.copies(layer, expert)) > 1
    )
    return replace(correction, replicas=found) if found else correction
