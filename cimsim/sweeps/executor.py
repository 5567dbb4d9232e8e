"""The one interface between plans of many points and the processes that compute them.

A `PlanTask` is a frozen dataclass that pickle carries to a process of our own; it is never
written to disk. An `Executor` runs tasks in any order and yields each as it finishes. Tasks are
pure: what they return depends on their fields alone, so that it does not matter where they run,
or beside what. Processes of a local executor and of a cluster have one BLAS thread each.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from cimsim.errors import CimsimError
from cimsim.plugins import failed_in_plugin

__all__ = ["Executor", "Finished", "InThisProcess", "PlanTask", "Tell", "Workplace", "carry_out"]

T = TypeVar("T")

# Hears the name of a task, the stage that it has begun and the share of it that is done.
Tell = Callable[[str, str, float], None]


class Workplace:
    """What a task has where it runs: somebody to tell how far it is, and a shelf.

    Args:
        tell: hears (stage, share done).
        kept: what tasks leave open in this process for those after them, such as a model.
    """

    def __init__(self, tell: Callable[[str, float], None], kept: dict[Hashable, Any]) -> None:
        self._tell, self.kept = tell, kept

    def __call__(self, stage: str, share: float) -> None:
        """Tell how far the task is."""
        self._tell(stage, share)


@dataclass(frozen=True)
class PlanTask(ABC, Generic[T]):
    """One point of a plan. Subclasses are frozen dataclasses at the top of a module.

    Attributes:
        name: unique in its plan.
    """

    name: str

    @property
    def affinity(self) -> tuple[Hashable, ...]:
        """What the task needs open, the slowest to open first: such tasks go to one process."""
        return ()

    @abstractmethod
    def run(self, place: Workplace) -> T:
        """Compute the result; `place(stage, share)` tells how far it is."""


@dataclass(frozen=True)
class Finished(Generic[T]):
    """A task that is done.

    Attributes:
        name: of the task.
        result: what it returned, None if it failed.
        error: what it raised, None if it did not.
    """

    name: str
    result: T | None
    error: Exception | None = None

    def value(self) -> T:
        """Return the result.

        Raises:
            Exception: what the task raised.
        """
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


class Executor(Protocol):
    """Runs tasks. Leaving its context ends its processes, whatever they are doing."""

    def submit(self, tasks: Sequence[PlanTask[T]], tell: Tell) -> Iterator[Finished[T]]:
        """Run tasks and yield each as it finishes; a task that fails stops no other.

        Args:
            tasks: with distinct names.
            tell: hears how far each task is.

        Raises:
            SimulationError: if what runs them is lost.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def carry_out(task: PlanTask[T], place: Workplace) -> Finished[T]:
    """Run a task here; what it raises becomes part of the answer.

    An error that is no sentence for the user takes along where it arose: pickle drops that.
    """
    try:
        return Finished(task.name, task.run(place))
    except Exception as error:
        if not isinstance(error, CimsimError):
            foreign = failed_in_plugin(error)
            if foreign is not None:
                return Finished(task.name, None, foreign)
            error.add_note("".join(traceback.format_exception(error)))
        return Finished(task.name, None, error)


class InThisProcess:
    """Runs tasks one after the other, here."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}

    def submit(self, tasks: Sequence[PlanTask[T]], tell: Tell) -> Iterator[Finished[T]]:
        """Run tasks in their order."""
        for task in tasks:
            yield carry_out(task, Workplace(_named(tell, task.name), self._kept))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.clear()


def _named(tell: Tell, name: str) -> Callable[[str, float], None]:
    return lambda stage, share: tell(name, stage, share)
