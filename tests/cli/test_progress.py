"""What a run says about its progress: time left is sane from the first line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cimsim.cli import progress as module
from cimsim.cli.progress import Progress


def plan(chips: int, *, seeds: int = 2, method: str = "romer_plus") -> SimpleNamespace:
    run, calibration = SimpleNamespace(chip_seeds=seeds), SimpleNamespace(method=method)
    config = SimpleNamespace(run=run, calibration=calibration)
    tasks = [SimpleNamespace(name=f"chip{i}", config=config) for i in range(chips)]
    return SimpleNamespace(tasks=tasks, jobs=1, threads=1, memory_bytes=None)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function (plan, [(second, stage)]) -> lines on stderr, without a real clock."""
    monkeypatch.setattr(module, "PLAIN_SECONDS", -1.0)
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def follow(of: SimpleNamespace, events: list[tuple[float, str]]) -> list[str]:
        now[0] = 0.0
        progress = Progress(of)
        for second, stage in events:
            now[0] = second
            progress.stage("chip0", stage, 0.0)
        return capsys.readouterr().err.splitlines()

    return follow


def test_first_estimate_does_not_hang_on_the_start(said) -> None:
    (line,) = said(plan(1), [(0.5, "placing")])
    assert line == "  0%  chip0: placing, about 50 s left"
    (_, slow) = said(plan(8), [(0.5, "placing"), (12.0, "converter ranges")])
    # Eight chips of 51.5 usual seconds each: minutes, not hours.
    assert slow.endswith("about 10 min left")


def test_estimate_becomes_that_of_the_run(said) -> None:
    stages = ["placing", "converter ranges", "ideal integers", "programming, chip 1 of 1",
              "scoring, chip 1 of 1", "calibrating, chip 1 of 1",
              "scoring calibrated, chip 1 of 1"]  # fmt: skip
    # Ten times as slow as usual.
    events = [(10.0 * s, stage) for s, stage in zip((0, 3, 4, 5.5, 7, 9, 23), stages, strict=True)]
    lines = said(plan(1, seeds=1), events)
    left = float(lines[-1].rpartition("about ")[2].split()[0])
    # Pace: 230 s and the 15 usual ones for the 22 + 15 that are done; 9 usual seconds are left.
    assert left == pytest.approx((230 + 15) / (22 + 15) * 9, abs=15)


def test_work_never_goes_back_and_counts_every_seed(said) -> None:
    events = [(1.0, "calibrating, chip 2 of 2"), (2.0, "programming, chip 1 of 2"),
              (3.0, "events")]  # fmt: skip
    shares = [int(line.split("%")[0]) for line in said(plan(1), events)]
    assert shares == sorted(shares)
    assert shares[-1] > 80


def test_a_run_without_calibration_is_short(said) -> None:
    (line,) = said(plan(1, method="identity"), [(0.0, "placing")])
    assert line.endswith("about 20 s left")
