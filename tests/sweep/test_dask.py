"""Tasks on a Dask cluster: the same results, retries, clear errors, no orphans."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cimsim.errors import CimsimError, SimulationError
from cimsim.sweeps.executor import Executor
from cimsim.sweeps.open_executor import open_executor
from tests.sweep.points import Endless, Environment, Killed, Refused, Sum
from tests.sweep.test_processes import QUIET, gone, pids_of, sums


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    with open_executor(1, cluster="local:2") as executor:
        yield executor


def test_a_cluster_gives_what_this_process_gives(cluster: Executor) -> None:
    told: list[tuple[str, str, float]] = []
    with open_executor(1) as alone:
        one = {f.name: f.value() for f in alone.submit(sums(5), QUIET)}
    assert {f.name: f.value() for f in cluster.submit(sums(5), lambda *m: told.append(m))} == one
    assert ("s1", "adding", 0.5) in told
    (found,) = cluster.submit([Environment("e")], QUIET)
    assert set(found.value().values()) == {"1"}


def test_what_a_task_raises_keeps_its_words(cluster: Executor) -> None:
    found = {f.name: f for f in cluster.submit([Refused("r"), *sums(2)], QUIET)}
    assert isinstance(found["r"].error, CimsimError)
    assert found["r"].error.sentence() == "chip.tiles: does not fit (found 3); take more"
    assert found["s1"].value() == 2


def test_a_killed_process_costs_a_retry(cluster: Executor, tmp_path: Path) -> None:
    tasks = [Killed("k", tmp_path / "once"), *sums(2)]
    found = {f.name: f for f in cluster.submit(tasks, QUIET)}
    assert (tmp_path / "once").exists()
    assert all(f.error is None for f in found.values())


def test_one_that_is_killed_every_time_is_a_sentence(cluster: Executor) -> None:
    (found,) = cluster.submit([Killed("k")], QUIET)
    assert isinstance(found.error, SimulationError)
    assert "a worker was killed (memory?)" in str(found.error)


def test_nothing_goes_on_that_nobody_waits_for(cluster: Executor, tmp_path: Path) -> None:
    submitted = cluster.submit([Endless("e", tmp_path / "e.pid"), Sum("s", 1, 1)], QUIET)
    next(submitted)
    while not (tmp_path / "e.pid").exists():
        time.sleep(0.05)
    submitted.close()  # type: ignore[attr-defined]
    assert gone(int((tmp_path / "e.pid").read_text()), 5.0)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(end: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sweep.endless", str(tmp_path), "local:2"]
    )
    try:
        pids = pids_of(tmp_path, process)
        process.send_signal(end)
        process.wait(10)
        assert all(gone(pid, 5.0) for pid in pids)
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("local:0", "is no cluster"),
        ("local:many", "is no cluster"),
        ("nonsense", "does not answer within"),
        ("tcp://127.0.0.1:9", "does not answer within"),
    ],
)
def test_a_cluster_that_is_none_is_one_sentence(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cimsim.sweeps.dask_executor.ANSWER_S", 1)
    with pytest.raises(CimsimError, match=words) as refused:
        open_executor(1, cluster=address)
    assert refused.value.exit_code == 2


def test_a_scheduler_that_is_lost_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    address = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(address)], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    worker = None
    try:
        while not address.exists():
            time.sleep(0.05)
        import json

        where = json.loads(address.read_text())["address"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", where, "--nthreads", "1",
             "--no-dashboard"], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with open_executor(1, cluster=where) as executor:
            submitted = executor.submit([Sum("s", 1, 1), Endless("e", tmp_path / "e.pid")], QUIET)
            assert next(submitted).value() == 2
            while not (tmp_path / "e.pid").exists():
                time.sleep(0.05)
            scheduler.kill()
            with pytest.raises(SimulationError, match="was lost") as lost:
                next(submitted)
            assert "--resume" in str(lost.value)
        assert gone(int((tmp_path / "e.pid").read_text()), 5.0)
    finally:
        scheduler.kill()
        if worker is not None:
            worker.terminate()
            worker.wait()
