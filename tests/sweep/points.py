"""Tasks that worker processes can import: they add, fail, die or go on for ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError
from cimsim.sweeps.executor import PlanTask, Workplace
from cimsim.sweeps.worker import THREAD_VARIABLES


@dataclass(frozen=True)
class Sum(PlanTask[int]):
    """Adds two numbers; says which process did and how many sums that has done."""

    a: int
    b: int
    model: str = "m"

    @property
    def affinity(self) -> tuple[Hashable, ...]:
        return (self.model,)

    def run(self, place: Workplace) -> int:
        place("adding", 0.5)
        place.kept["sums"] = place.kept.get("sums", 0) + 1
        return self.a + self.b


@dataclass(frozen=True)
class Environment(PlanTask[dict[str, str | None]]):
    """Returns the thread settings of the process."""

    def run(self, place: Workplace) -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in THREAD_VARIABLES}


@dataclass(frozen=True)
class Refused(PlanTask[None]):
    """Fails as a user's mistake does, or as a bug does."""

    bug: bool = False

    def run(self, place: Workplace) -> None:
        if self.bug:
            return self.of_a_bug()
        raise CimsimError("does not fit", key="chip.tiles", value=3, hint="take more")

    def of_a_bug(self) -> None:
        raise ZeroDivisionError("a bug")


@dataclass(frozen=True)
class Killed(PlanTask[None]):
    """Is killed as the kernel kills for want of memory; the first time only, if a file says so."""

    once: Path | None = None

    def run(self, place: Workplace) -> None:
        if self.once is not None:
            if self.once.exists():
                return
            self.once.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Unsendable(PlanTask[Any]):
    """Returns what pickle cannot carry."""

    def run(self, place: Workplace) -> Any:
        return lambda: None


@dataclass(frozen=True)
class Endless(PlanTask[None]):
    """Writes its process id to a file and goes on for ever."""

    file: Path

    def run(self, place: Workplace) -> None:
        self.file.write_text(str(os.getpid()))
        while True:
            time.sleep(0.01)
