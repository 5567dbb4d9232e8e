"""Plans of tests, and a sweep that is carried out in this process."""

from __future__ import annotations

from pathlib import Path

from cimsim.config.sweep import SweepPlan
from cimsim.config.sweep_file import load_sweep
from cimsim.sweeps.executor import InThisProcess
from cimsim.sweeps.run import SweepRun, prepare_sweep
from cimsim.sweeps.standing import SweepResults

TWO_BY_TWO = """
sweep: 1
chips: [isaac]
accuracy: off
axes:
  tile.adc.bits: [5, 8]
  tile.crossbar.rows: [64, 128]
"""


class Quiet:
    """Hears how a sweep goes, and remembers what was evaluated."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.notes: list[str] = []
        self.stages: list[tuple[str, int]] = []

    def begin(self, stage: str, points: int) -> None:
        self.stages.append((stage, points))

    def stage(self, name: str, stage: str, fraction: float) -> None:
        pass

    def finished(self, name: str) -> None:
        self.done.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)


def plan_from(folder: Path, text: str) -> SweepPlan:
    """Return the plan of a file of this text."""
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return load_sweep(path)


def sweep_here(
    plan: SweepPlan, out: Path, listener: Quiet | None = None, *, skip_invalid: bool = False
) -> SweepResults:
    """Carry out a plan in this process."""
    checked = prepare_sweep(plan, out, skip_invalid=skip_invalid)
    with InThisProcess() as executor:
        return SweepRun(checked, executor, listener or Quiet()).run()
