"""The inside of a worker process: it takes tasks from a pipe until nobody is at the other end.

A worker must not outlive who started it. Three things see to that: the pipe of tasks ends when it
waits for one; a thread watches a pipe whose other end only the parent holds; and on Linux the
kernel kills it together with its parent, even inside a kernel that keeps the interpreter.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from cimsim.errors import CimsimInternalError
from cimsim.plugins import load_plugins
from cimsim.stages.heap import release_heap
from cimsim.sweeps.executor import Finished, PlanTask, Workplace, carry_out

__all__ = ["READY", "THREAD_VARIABLES", "deaf_to_interrupts", "die_with_parent", "serve"]

THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip
READY = "ready"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(
    connection: Connection,
    plugins: Sequence[Path],
    lifeline: object,
    idle_s: float | None = None,
) -> None:
    """Carry out tasks as they come.

    Messages back are READY once, then for each task (stage, share) and at last a `Finished`.

    Args:
        connection: gives tasks and takes messages.
        plugins: to load before the first task.
        lifeline: sentinel or connection that becomes ready when the parent is gone.
        idle_s: end after so long without a task; None waits for ever.
    """
    # An interrupt is the parent's to handle: it ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Thread(target=_watch, args=(lifeline,), daemon=True).start()
    load_plugins(plugins)
    kept: dict[Hashable, Any] = {}
    lock = Lock()  # chip seeds of one task may report from several threads

    def tell(stage: str, share: float) -> None:
        with lock:
            connection.send((stage, share))

    try:
        connection.send(READY)
        while connection.poll(idle_s):
            task: PlanTask[Any] = connection.recv()
            _send(connection, carry_out(task, Workplace(tell, kept)))
            release_heap()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile never hear of Ctrl-C, which is their parent's.

    The terminal sends it to all of them, and they import for a second before they could say so.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Python starts it with the first process, and then lets interrupts through again.
    import_module("multiprocessing.resource_tracker").ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(connection: Connection, finished: Finished[Any]) -> None:
    """Send an answer; one that pickle cannot carry is our bug, and says so."""
    try:
        connection.send(finished)
    except (TypeError, AttributeError, ValueError) as error:
        message = f"the answer of {finished.name} cannot be sent: {error}; {finished.error!r}"
        connection.send(Finished(finished.name, None, CimsimInternalError(message)))


def _watch(lifeline: Any) -> None:
    wait([lifeline])
    os._exit(1)
