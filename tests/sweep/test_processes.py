"""Tasks in processes of this machine: same results, clear ends, no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cimsim.errors import CimsimError, CimsimInternalError, SimulationError
from cimsim.sweeps.open_executor import open_executor
from cimsim.sweeps.processes import choose
from tests.sweep.points import Environment, Killed, Refused, Sum, Unsendable

QUIET = lambda *_: None  # noqa: E731


def sums(count: int) -> list[Sum]:
    return [Sum(f"s{i}", i, 1, model="ab"[i % 2]) for i in range(count)]


def gone(pid: int, seconds: float) -> bool:
    """Whether a process ends within some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def pids_of(folder: Path, process: subprocess.Popen[bytes], count: int = 2) -> list[int]:
    """Return the process ids that endless tasks write, once they run."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        found = [p.read_text() for p in folder.glob("*.pid")]
        if len(found) == count and all(found):
            return [int(f) for f in found]
        time.sleep(0.05)
    raise AssertionError(process.poll())


def test_two_processes_give_what_one_gives_and_tell_how_far_they_are() -> None:
    told: list[tuple[str, str, float]] = []
    with open_executor(1) as alone, open_executor(2) as both:
        one = {f.name: f.value() for f in alone.submit(sums(5), QUIET)}
        two = {f.name: f.value() for f in both.submit(sums(5), lambda *m: told.append(m))}
        again = {f.name: f.value() for f in both.submit(sums(3), QUIET)}
    assert one == two == {f"s{i}": i + 1 for i in range(5)}
    assert again == {f"s{i}": i + 1 for i in range(3)}
    assert sorted(told) == [(f"s{i}", "adding", 0.5) for i in range(5)]


def test_workers_have_one_thread_of_blas_and_the_parent_keeps_its_own() -> None:
    before = dict(os.environ)
    with open_executor(2) as executor:
        (found,) = executor.submit([Environment("e")], QUIET)
    assert set(found.value().values()) == {"1"}
    assert dict(os.environ) == before


def test_what_a_task_raises_costs_no_other_and_keeps_its_words() -> None:
    tasks = [Refused("r"), Refused("bug", bug=True), Unsendable("u"), *sums(2)]
    with open_executor(2) as executor:
        found = {f.name: f for f in executor.submit(tasks, QUIET)}
    refused = found["r"].error
    assert isinstance(refused, CimsimError)
    assert refused.sentence() == "chip.tiles: does not fit (found 3); take more"
    assert refused.key == "chip.tiles"
    assert "of_a_bug" in found["bug"].error.__notes__[0]
    assert isinstance(found["u"].error, CimsimInternalError)
    assert found["s1"].value() == 2
    with pytest.raises(ZeroDivisionError):
        found["bug"].value()


def test_a_killed_worker_is_one_sentence_and_the_others_go_on() -> None:
    with open_executor(2) as executor:
        found = {f.name: f for f in executor.submit([Killed("k"), *sums(4)], QUIET)}
    assert isinstance(found["k"].error, SimulationError)
    assert found["k"].error.exit_code == 1
    assert "a worker was killed (memory?)" in str(found["k"].error)
    assert [found[f"s{i}"].value() for i in range(4)] == [1, 2, 3, 4]


def test_when_no_worker_is_left_the_plan_ends() -> None:
    with open_executor(2) as executor, pytest.raises(SimulationError, match="every worker"):
        list(executor.submit([Killed("k"), Killed("l"), Killed("m")], QUIET))


def test_a_process_takes_what_suits_what_it_has_open() -> None:
    left = [("m", 1), ("m", 2), ("n", 1), ("n", 1), ("n", 1)]
    assert choose(left, ("m", 2), []) == 1  # the very same
    assert choose(left, ("m", 3), []) == 0  # the same model
    assert choose(left, (), []) == 2  # most work left
    assert choose(left, (), [("n", 1)] * 3) == 0  # of which others take care


def test_a_process_leaves_a_branch_to_those_that_have_it_open() -> None:
    chips = [("m", kind, chip) for kind in "abc" for chip in range(3) for _ in range(2)]
    others = [("m", "a", 0), ("m", "b", 2)]
    assert chips[choose(chips, (), others)][1] == "c"
    assert chips[choose(chips, ("m", "b", 2), others)] == ("m", "b", 2)
    assert chips[choose(chips, ("m", "c", 7), others)] == ("m", "c", 0)
    # Once all branches are open the fullest one is shared.
    fewer = chips[2:]
    assert fewer[choose(fewer, (), [*others, ("m", "c", 0)])][1] == "b"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(end: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.sweep.endless", str(tmp_path)])
    try:
        pids = pids_of(tmp_path, process)
        process.send_signal(end)
        process.wait(10)
        assert all(gone(pid, 5.0) for pid in pids)
    finally:
        process.kill()
