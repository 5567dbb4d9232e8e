"""Jobs of the study: batches, processes, and going on after a stop."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from romer_jobs import Writer

from cimsim.errors import SimulationError
from romer.study.cells import Kind
from romer.study.jobs import BATCH_JOBS, StudyJob, batches_of, run_batches

KINDS = tuple(Kind("m", ("experts",), sigma) for sigma in (1.0, 2.0))


def jobs_of(count: int) -> list[StudyJob]:
    return [
        StudyJob(f"{k}-{chip}-{i}", kind, chip, "noisy", ())
        for k, kind in enumerate(KINDS)
        for chip in range(2)
        for i in range(count)
    ]


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_batch_is_of_one_chip_of_one_kind_and_short() -> None:
    jobs = jobs_of(BATCH_JOBS + 2)
    batches = batches_of(jobs[::-1])
    assert sorted(j.name for b in batches for j in b.jobs) == sorted(j.name for j in jobs)
    for batch in batches:
        assert len(batch.jobs) <= BATCH_JOBS
        assert {(j.kind, j.chip) for j in batch.jobs} == {(batch.kind, batch.jobs[0].chip)}


def test_any_number_of_processes_in_any_order_writes_the_same_bytes(tmp_path: Path) -> None:
    batches = batches_of(jobs_of(3))
    done: list[int] = []
    for folder, processes, order in (("a", 1, 1), ("b", 2, -1)):
        run_batches(
            batches[::order], Writer(tmp_path / folder), processes=processes, until=math.inf,
            say=done.append,
        )  # fmt: skip
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert len(files_of(tmp_path / "a")) == 12
    assert sum(done) == 24


def test_no_job_is_begun_after_the_time_is_up(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    run_batches(
        batches_of(jobs_of(1)), Writer(tmp_path / "a"), processes=2, until=0.0, say=lambda _: None
    )
    assert not files_of(tmp_path / "a")


def test_what_a_batch_raises_is_raised_once_the_others_are_done(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a", fails="0-0-0")
    with pytest.raises(ValueError, match="0-0-0"):
        run_batches(batches_of(jobs_of(1)), writer, processes=2, until=math.inf, say=lambda _: None)
    assert len(files_of(tmp_path / "a")) == 3


def test_a_dead_process_is_one_sentence_and_costs_no_other_record(
    tmp_path: Path,
) -> None:
    batches = batches_of(jobs_of(1))
    dead = Writer(tmp_path / "a", dies="1-1-0")
    with pytest.raises(SimulationError, match="run the same command again"):
        run_batches(batches, dead, processes=2, until=math.inf, say=lambda _: None)
    assert len(files_of(tmp_path / "a")) == 3
