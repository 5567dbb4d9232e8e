"""Tasks on a worker of a Dask cluster: each runs in a process that the worker hosts.

A thread of a Dask worker cannot be stopped, and the thread count of its BLAS is whatever the
cluster's owner set. A process of our own can be killed as soon as nobody wants its answer, has
one BLAS thread, and keeps what it has open for the next task. It ends when it was idle for a
minute, and with the Dask worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from cimsim.errors import CimsimError
from cimsim.results.code_version import code_version
from cimsim.sweeps.executor import Finished, PlanTask
from cimsim.sweeps.worker import READY, THREAD_VARIABLES, serve

__all__ = ["HostedProcesses", "UnwantedError"]

T = TypeVar("T")

POLL_S = 0.2
IDLE_S = 60.0


class UnwantedError(Exception):
    """Nobody waits for the answer any more, or the process that computed it was killed."""


class HostedProcesses:
    """Processes of a Dask worker; one for each of its threads that runs a task of ours.

    Args:
        plugins: files that each of them loads.
        code: version of the code that wants answers.
    """

    def __init__(self, plugins: Sequence[Path], code: str) -> None:
        self._plugins, self._code = tuple(plugins), code
        self._idle: list[_Hosted] = []
        self._lock = Lock()

    def run(
        self, task: PlanTask[T], tell: Callable[[str, float], None], wanted: Callable[[], bool]
    ) -> Finished[T]:
        """Run a task in a process.

        Args:
            task: what to run.
            tell: hears (stage, share done).
            wanted: whether somebody waits for the answer.

        Raises:
            UnwantedError: if nobody does any more, or the process was killed.
        """
        if code_version() != self._code:
            return Finished(task.name, None, _other_code())
        hosted = self._take()
        try:
            answer = hosted.answer(task, tell, wanted)
        except BaseException:
            hosted.kill()
            raise
        with self._lock:
            self._idle.append(hosted)
        return answer

    def _take(self) -> _Hosted:
        with self._lock:
            while self._idle:
                hosted = self._idle.pop()
                if hosted.alive:
                    return hosted
                hosted.kill()
        return _Hosted(self._plugins)

    def stop(self) -> None:
        """End idle processes."""
        with self._lock:
            while self._idle:
                self._idle.pop().kill()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._plugins, self._code)


class _Hosted:
    """One process, with a pipe of tasks and one that tells it that we are gone."""

    def __init__(self, plugins: tuple[Path, ...]) -> None:
        self._ready = False
        self._connection, there = Pipe()
        end, self._lifeline = Pipe(duplex=False)
        numbers = (there.fileno(), end.fileno())
        # Not through `multiprocessing`: processes of Dask may have no children there.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", __name__, *map(str, numbers), *map(str, plugins)],
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                **dict.fromkeys(THREAD_VARIABLES, "1"),
                "PYTHONPATH": os.pathsep.join(p or os.curdir for p in sys.path),
            },
        )
        there.close()
        end.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def answer(
        self, task: PlanTask[T], tell: Callable[[str, float], None], wanted: Callable[[], bool]
    ) -> Finished[T]:
        sent = False
        try:
            while True:
                # A large task does not fit the pipe before the process reads it.
                if self._ready and not sent:
                    self._connection.send(task)
                    sent = True
                while not self._connection.poll(POLL_S):
                    if not wanted():
                        raise UnwantedError(task.name)
                message = self._connection.recv()
                if isinstance(message, Finished):
                    return message
                if message == READY:
                    self._ready = True
                else:
                    tell(*message)
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise UnwantedError(task.name) from error

    def kill(self) -> None:
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._connection.close()
        self._lifeline.close()


def _other_code() -> CimsimError:
    return CimsimError(
        "a worker of the cluster has another version of cimsim than this process",
        key="--cluster",
        hint="install the same sources there, and start its workers anew",
    )


def _main() -> None:
    tasks, lifeline, *plugins = sys.argv[1:]
    serve(
        Connection(int(tasks)),
        [Path(p) for p in plugins],
        Connection(int(lifeline), writable=False),
        idle_s=IDLE_S,
    )


if __name__ == "__main__":
    _main()
