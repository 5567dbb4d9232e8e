"""Commands on executors, through real processes: how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHIPS = ("isaac", "hermes")
KNOBS = (
    "workload.tokens=64", "workload.context=16", "calibration.tokens=256", "run.chip_seeds=1",
)  # fmt: skip
SMALL = "from tests.small_shape import NAME, SHAPES, SMALL_SHAPE\nSHAPES[NAME] = SMALL_SHAPE\n"


def command(folder: Path, model: Path, *options: str) -> list[str]:
    plugin = folder / "small.py"
    plugin.write_text(SMALL)
    knobs = [word for knob in KNOBS for word in ("--set", knob)]
    return [sys.executable, "-m", "cimsim", "run", *CHIPS, "--model", str(model), *knobs,
            "--threads", "1", "--plugin", str(plugin), *options]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code", "said", "way"),
    [
        (signal.SIGTERM, 143, "terminated", ("--jobs", "2")),
        (signal.SIGHUP, 129, "hung up", ("--jobs", "2")),
        (signal.SIGTERM, 143, "terminated", ("--cluster", "local:2")),
    ],
)
def test_a_signal_ends_workers_within_5_seconds(
    number: signal.Signals,
    code: int,
    said: str,
    way: tuple[str, str],
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    words = command(tmp_path, tiny_model, *way, "--out", str(tmp_path / "run"))
    process = subprocess.Popen(
        [*words, "--set", "run.chip_seeds=1000", "--set", "workload.tokens=2048"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Who runs the tests under nohup hands down an ignored SIGHUP.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        assert process.stderr is not None
        process.stderr.readline()  # the first word of progress: workers are at work
        process.send_signal(number)
        asked = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert err.splitlines()[-1] == said
        while _alive(process.pid) and time.monotonic() - asked < 60.0:
            time.sleep(0.05)
        assert time.monotonic() - asked < 5.0
    finally:
        if _alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
