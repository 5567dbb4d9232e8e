"""Which executor a command gets: this process, processes of this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimsim.sweeps.executor import Executor, InThisProcess
from cimsim.sweeps.processes import LocalProcesses

__all__ = ["open_executor"]


def open_executor(
    jobs: int, *, cluster: str | None = None, plugins: Sequence[Path] = ()
) -> Executor:
    """Return an executor, to be used as a context.

    Args:
        jobs: processes of this machine at once; one is this process itself.
        cluster: ``local:N`` or a Dask scheduler's address, to take that instead.
        plugins: files that worker processes load.

    Raises:
        CimsimError: if the cluster does not answer, or Dask is not installed.
    """
    if cluster is not None:
        from cimsim.sweeps.dask_executor import DaskCluster  # noqa: PLC0415 - an extra

        return DaskCluster(cluster, plugins)
    return InThisProcess() if jobs == 1 else LocalProcesses(jobs, plugins)
