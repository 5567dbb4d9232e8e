"""`cimsim trace`: a chosen window, phase and batch."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from conftest import Cimsim


def events(folder: Path) -> list[dict[str, Any]]:
    trace = json.loads(gzip.decompress((folder / "a.json.gz").read_bytes()))
    found: list[dict[str, Any]] = trace["traceEvents"]
    return found


def test_a_window_of_a_phase_is_written(cimsim: Cimsim, tmp_path: Path) -> None:
    options = ("--phase", "prefill", "--batch", "2", "--length", "8", "--out", "a.json.gz")
    whole = cimsim("trace", "isaac", *options)
    assert whole.returncode == 0, whole.stderr
    assert "slices of prefill" in whole.stdout
    assert "busiest links: link router" in whole.stdout
    groups = [e["args"]["name"] for e in events(tmp_path) if e["name"] == "process_name"]
    assert groups == ["isaac: memory, digital units", "isaac: busiest others",
                      "isaac: all others", "isaac: busiest links"]  # fmt: skip
    threads = {e["tid"] for e in events(tmp_path) if e["name"] == "thread_name" and e["pid"] != 3}
    assert len(threads) == 20
    part = cimsim("trace", "isaac", *options, "--from-us", "5", "--until-us", "10")
    assert "5 to 10 of" in part.stdout
    slices = [e for e in events(tmp_path) if e["ph"] == "X" and e["cat"] != "link"]
    assert slices
    assert all(e["ts"] < 10 and e["ts"] + e["dur"] > 5 for e in slices)


def test_a_window_beyond_the_phase_is_refused(cimsim: Cimsim) -> None:
    found = cimsim("trace", "isaac", "--length", "2", "--from-us", "1e6", "--out", "a.json.gz")
    assert found.returncode == 2
    assert "nothing of the phase lies in this window" in found.stderr
    assert "the phase takes" in found.stderr
