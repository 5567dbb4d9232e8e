"""Tasks on a Dask cluster: one that this process starts, or one that is there.

Dask moves tasks and answers by pickle between our own processes; whoever may connect to a
scheduler may run code on its workers, so a scheduler must be reached by its owner alone. A worker
that is killed costs a retry: Dask gives its tasks to another one, and tasks are pure.
"""

from __future__ import annotations

import gc
import logging
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from cimsim.errors import CimsimError, SimulationError
from cimsim.results.code_version import code_version
from cimsim.sweeps.executor import Finished, PlanTask, Tell
from cimsim.sweeps.hosted import HostedProcesses, UnwantedError
from cimsim.sweeps.processes import killed

try:
    from distributed import (
        CancelledError,
        Client,
        Future,
        KilledWorker,
        LocalCluster,
        WorkerPlugin,
        get_worker,
    )
    from distributed.comm import CommClosedError
    from distributed.core import Status
    from distributed.worker import thread_state
except ModuleNotFoundError as missing:
    raise CimsimError(
        f"a cluster needs {missing.name}, which is not installed",
        key="--cluster",
        hint="pip install 'cimsim[cluster]'",
    ) from missing

__all__ = ["DaskCluster"]

T = TypeVar("T")

ANSWER_S = 10  # in which a scheduler must answer
WORKER_S = 60  # in which it must have a worker
RETRIES = 2  # after processes that were killed
POLL_S = 0.2


class _Plugin(WorkerPlugin):  # type: ignore[misc]
    """Keeps the processes that a Dask worker hosts."""

    def __init__(self, plugins: Sequence[Path], code: str) -> None:
        self.processes = HostedProcesses(plugins, code)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask calls it so
        """End them."""
        self.processes.stop()


def _carry_out(task: PlanTask[T], topic: str) -> Finished[T]:
    """Run a task on a Dask worker; runs there."""
    worker, key = get_worker(), thread_state.key

    def wanted() -> bool:
        state = worker.state.tasks.get(key)
        running = state is not None and state.state in {"executing", "long-running"}
        return running and worker.status == Status.running

    def tell(stage: str, share: float) -> None:
        worker.log_event(topic, (task.name, stage, share))

    processes: HostedProcesses = worker.plugins[topic].processes
    return processes.run(task, tell, wanted)


class DaskCluster:
    """Runs tasks on a Dask cluster.

    Args:
        address: ``local:N`` for N workers on this machine, or a scheduler's address.
        plugins: files that workers load; on other machines they lie at the same place.

    Raises:
        CimsimError: if the address is none, or the cluster does not answer.
    """

    def __init__(self, address: str, plugins: Sequence[Path] = ()) -> None:
        self._address, self._topic = address, f"cimsim-{uuid.uuid4().hex}"
        self._cluster = _local(address) if address.startswith("local:") else None
        try:
            self._client = _connect(self._cluster or address, address)
        except BaseException:
            self._close_cluster()
            raise
        try:
            self._client.register_plugin(_Plugin(plugins, code_version()), name=self._topic)
        except BaseException:
            self.stop()
            raise

    def submit(self, tasks: Sequence[PlanTask[T]], tell: Tell) -> Iterator[Finished[T]]:
        """Run tasks on the cluster's workers."""
        heard: SimpleQueue[tuple[str, str, float]] = SimpleQueue()
        done: SimpleQueue[Future] = SimpleQueue()
        self._client.subscribe_topic(self._topic, lambda event: heard.put(event[1]))
        futures: dict[Future, str] = {}
        try:
            for task in tasks:
                future = self._client.submit(
                    _carry_out, task, self._topic, pure=False, retries=RETRIES
                )
                futures[future] = task.name
                future.add_done_callback(done.put)
            while futures:
                with suppress(Empty):
                    future = done.get(timeout=POLL_S)
                    yield self._finished(future, futures.pop(future))
                while not heard.empty():
                    tell(*heard.get())
        except BaseException:
            with suppress(Exception):  # a scheduler that is lost takes no more words
                self._client.cancel(list(futures), force=True)
            raise

    def _finished(self, future: Future, name: str) -> Finished[Any]:
        try:
            finished: Finished[Any] = future.result()
        except (KilledWorker, UnwantedError):
            return Finished(name, None, killed(f"every process that ran {name}"))
        except (CancelledError, CommClosedError, OSError) as error:
            raise SimulationError(
                f"the scheduler of the cluster {self._address} was lost",
                key="--cluster",
                hint="what is finished is kept: the same command with --resume goes on",
            ) from error
        finally:
            future.release()
        return finished

    def stop(self) -> None:
        """Cancel what runs, forget our plug-in and let go of the cluster."""
        if self._client.status == "running":  # a scheduler that is lost takes no more words
            with suppress(Exception):
                self._client.unregister_worker_plugin(self._topic)
        with suppress(Exception):
            self._client.close(timeout=2)
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close(timeout=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _local(address: str) -> Any:
    count = address.removeprefix("local:")
    if not count.isdecimal() or int(count) < 1:
        raise CimsimError(
            "is no cluster",
            key="--cluster",
            value=address,
            allowed="local:N with N processes, or a scheduler's address such as tcp://host:8786",
        )
    # Memory of the processes that workers host is not the workers' own: Dask sees none of it.
    cluster = LocalCluster(
        n_workers=int(count),
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    # We close it ourselves; at exit Dask would try again and wait 10 s for workers that started.
    cluster.shutdown_on_close = False
    return cluster


def _connect(where: Any, address: str) -> Any:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(where, timeout=ANSWER_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        # A client that is half made closes itself when it is collected, and would wait for ever
        # if that happened while another one starts.
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        raise CimsimError(
            f"the cluster does not answer within {ANSWER_S} s",
            key="--cluster",
            value=address,
            hint="is a scheduler running there (dask scheduler)?",
        ) from error
    try:
        client.wait_for_workers(1, timeout=WORKER_S)
    except (OSError, TimeoutError) as error:
        client.close()
        raise CimsimError(
            f"the cluster has no worker after {WORKER_S} s",
            key="--cluster",
            value=address,
            hint="start one (dask worker)",
        ) from error
    return client
