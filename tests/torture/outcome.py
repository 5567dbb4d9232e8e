"""How a command line ended, and whether that is an end that a user can live with."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.command_line import run_here

SLOWEST_REFUSAL_S = 10.0
LONGEST_LINE = 520  # "error: " and 500 characters
NUMBER = re.compile(r"(?<![\w.])(nan|-?inf)(?![\w.])", re.IGNORECASE)


@dataclass
class Tally:
    """What all inputs of one kind came to.

    Attributes:
        codes: how often each exit code was seen.
        faults: what a user could not live with, a line each.
        slowest: seconds of the slowest input, and its name.
    """

    codes: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def line(self, kind: str) -> str:
        """Return one line of the summary."""
        codes = ", ".join(f"exit {code}: {n}" for code, n in sorted(self.codes.items()))
        crashed = self.codes[3]
        return (
            f"{kind}: {sum(self.codes.values())} inputs ({codes}), {len(self.faults)} faults, "
            f"{crashed} exits 3, slowest {self.slowest[0]:.1f} s ({self.slowest[1]})"
        )


def carry_out(
    tally: Tally, name: str, *words: str | Path, folder: Path, program: str = "cimsim"
) -> int:
    """Carry a command line out in this process and note how it ended; return its exit code."""
    begun = time.monotonic()
    done = run_here(*words, folder=folder, program=program)
    spent = time.monotonic() - begun
    tally.codes[done.returncode] += 1
    tally.slowest = max(tally.slowest, (spent, name))
    said = done.stderr.strip()
    last = said.rpartition("\n")[2]
    wrong = []
    if done.returncode not in {0, 1, 2} or "Traceback" in said:
        wrong.append(f"exit {done.returncode}: {last[:300]}")
    if done.returncode in {1, 2} and (len(last) > LONGEST_LINE or not last.startswith("error: ")):
        wrong.append(f"says {last[:300]!r}")
    if not all(line.isprintable() for line in (said + done.stdout).replace("\r", "").split("\n")):
        wrong.append("prints what no terminal should be sent")
    if done.returncode == 2 and spent > SLOWEST_REFUSAL_S:
        wrong.append(f"refused after {spent:.0f} s")
    tally.faults += [f"{name}: {what}" for what in wrong]
    return done.returncode


def impossible(row: dict[str, object]) -> list[str]:
    """Return the figures of a row of results.csv that no chip can have."""
    may_fall = ("gain", "change", "difference", "loss", "bias", "ci_", "recovered", "kept")
    found = []
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            found.append(f"{name} is {value}")
        if isinstance(value, float) and value < 0 and not any(w in name for w in may_fall):
            found.append(f"{name} is {value}")
    return found
