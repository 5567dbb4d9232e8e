"""How much work a chip of a run is, in seconds of an ordinary computer, and what is done of it.

Stages take very unlike times, most of it calibrating: progress counts the seconds that they
usually take.
"""

from __future__ import annotations

from cimsim.stages.plan import ChipTask

__all__ = ["ChipWork"]

PER_CHIP = {"placing": 3.0, "converter ranges": 1.0, "ideal integers": 1.5, "events": 7.0}
PER_SEED = {"programming": 1.5, "scoring": 2.0, "calibrating": 14.0, "scoring calibrated": 2.0}
"""Seconds of a stage on one core of an ordinary computer with the bundled models."""


class ChipWork:
    """The work of one chip in usual seconds: of all its stages, and of those that are over.

    Args:
        task: the chip.

    Attributes:
        seeds: its chip seeds.
        total: all of its work.
        done: what is over.
    """

    def __init__(self, task: ChipTask) -> None:
        self.seeds = task.config.run.chip_seeds
        per_seed = dict(PER_SEED)
        if task.config.calibration.method == "identity":
            del per_seed["calibrating"], per_seed["scoring calibrated"]
        self._seed_stages = per_seed
        self.total = sum(PER_CHIP.values()) + self.seeds * sum(per_seed.values())
        self.done = 0.0
        self._over: dict[str, float] = {}

    def begin(self, stage: str, fraction: float) -> None:
        """Count what comes before a stage; work never goes back."""
        kind, _, chip = stage.partition(", chip ")
        table = self._seed_stages if chip else PER_CHIP
        if kind in table:
            before = _before(table, kind)
            self._over[chip] = max(before, self._over.get(chip, 0.0))
            done = sum(self._over.values())
            if kind == "events":
                # Every seed is through.
                done = before + self.total - sum(PER_CHIP.values())
        else:  # stages of runs whose numbers and time are coupled
            done = fraction * self.total
        self.done = min(self.total, max(self.done, done))

    def end(self) -> None:
        """Count everything."""
        self.done = self.total


def _before(table: dict[str, float], kind: str) -> float:
    """Return the seconds of the stages before one."""
    names = list(table)
    return sum(table[name] for name in names[: names.index(kind)])
