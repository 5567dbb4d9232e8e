"""Tasks in processes of this machine, each spawned, with one BLAS thread.

Processes are kept from task to task. One that is free takes a task whose affinity is that of its
last one as far as possible, so that what it has open is opened once. Pipes and not
`concurrent.futures`: a process that the kernel kills is told from one that failed, an interrupt
ends a busy one, and none outlives a parent that is killed.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from cimsim.errors import SimulationError
from cimsim.sweeps.executor import Finished, PlanTask, Tell
from cimsim.sweeps.worker import READY, THREAD_VARIABLES, deaf_to_interrupts, die_with_parent, serve

__all__ = ["LocalProcesses", "choose", "killed"]

T = TypeVar("T")
Affinity = tuple[Hashable, ...]

JOIN_S = 2.0  # for which processes may end of themselves


class LocalProcesses:
    """Runs tasks in processes of this machine.

    Args:
        jobs: processes at once.
        plugins: files that each of them loads.
    """

    def __init__(self, jobs: int, plugins: Sequence[Path] = ()) -> None:
        self._jobs, self._plugins = jobs, tuple(plugins)
        self._team: list[_Member] = []

    def submit(self, tasks: Sequence[PlanTask[T]], tell: Tell) -> Iterator[Finished[T]]:
        """Run tasks, several at once."""
        left = list(tasks)
        self._team = [member for member in self._team if not member.gone]
        with _one_thread(), deaf_to_interrupts():
            while len(self._team) < min(self._jobs, len(left)):
                self._team.append(_start(self._plugins))
        try:
            for member in self._team:
                self._hand(member, left)
            while busy := {m.connection: m for m in self._team if m.task is not None}:
                for ready in wait(list(busy)):
                    member = busy[ready]  # type: ignore[index]
                    finished = _hear(member, tell)
                    if finished is not None:
                        self._hand(member, left)
                        yield finished
        except BaseException:
            self.stop()
            raise
        if left:
            raise killed("every worker process")

    def _hand(self, member: _Member, left: list[PlanTask[Any]]) -> None:
        """Give a free process the task that suits what it has open."""
        if not left or member.gone:
            return
        others = [m.affinity for m in self._team if m is not member and m.task is not None]
        task = left.pop(choose([t.affinity for t in left], member.affinity, others))
        member.task, member.affinity = task.name, task.affinity
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: reading says so
            member.connection.send(task)

    def stop(self) -> None:
        """End every process, also one that is busy."""
        for member in self._team:
            member.connection.close()
            member.process.terminate()
        until = time.monotonic() + JOIN_S
        for member in self._team:
            member.process.join(max(0.0, until - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
        self._team.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass(eq=False)
class _Member:
    """One process, the task that it has (None: it is free) and what it has open."""

    process: BaseProcess
    connection: Connection
    task: str | None = None
    affinity: Affinity = field(default=())
    gone: bool = False


def _start(plugins: tuple[Path, ...]) -> _Member:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_inside, args=(there, plugins), daemon=True)
    process.start()
    there.close()
    return _Member(process, here)


def _inside(connection: Connection, plugins: tuple[Path, ...]) -> None:
    die_with_parent()
    parent = parent_process()
    if parent is not None and parent.is_alive():
        serve(connection, plugins, parent.sentinel)


def _hear(member: _Member, tell: Tell) -> Finished[Any] | None:
    """Read one message of a busy process; return its answer if it is one."""
    name = member.task or ""
    try:
        message = member.connection.recv()
    except (EOFError, ConnectionResetError):
        member.gone, member.task = True, None
        return Finished(name, None, killed(f"the process that ran {name}"))
    if isinstance(message, Finished):
        member.task = None
        return message
    if message != READY:
        tell(name, *message)
    return None


def killed(what: str) -> SimulationError:
    """Return the error of a worker that ended without an answer."""
    return SimulationError(
        f"a worker was killed (memory?): {what} was ended from outside",
        hint="run the same command again, with fewer --jobs; what is finished is kept",
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are started meanwhile compute with one thread each.

    Nor do they import from the working folder before they know the path of modules of this one.
    """
    settings = dict.fromkeys((*THREAD_VARIABLES, "PYTHONSAFEPATH"), "1")
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)  # children read them at start
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def choose(left: Sequence[Affinity], mine: Affinity, others: Sequence[Affinity]) -> int:
    """Return the index of the task to take.

    The one that shares most with what the process has open. Of equal ones, where affinities part:
    the branch with most tasks left per process that works on it, down to a single affinity; of
    those the first. What a branch has in common is thus opened by few processes.

    Args:
        left: affinities of the tasks that are left.
        mine: of the process's last task.
        others: of the tasks that are running.
    """
    work = Counter(branch for affinity in left for branch in _branches(affinity))
    busy = Counter(branch for affinity in others for branch in _branches(affinity))
    opened = _branches(mine)

    def worth(affinity: Affinity) -> tuple[int, tuple[float, ...]]:
        branches = _branches(affinity)
        same = sum(a == b for a, b in zip(branches, opened, strict=False))
        return same, tuple(work[b] / (1 + busy[b]) for b in branches[same:])

    return left.index(max(dict.fromkeys(left), key=worth))


def _branches(affinity: Affinity) -> list[Affinity]:
    """Return every beginning of an affinity, the shortest first."""
    return [affinity[: i + 1] for i in range(len(affinity))]
