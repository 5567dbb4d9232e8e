"""Progress bars of runs and sweeps, in notebooks and on terminals; elsewhere nothing is drawn."""

from __future__ import annotations

import sys
import warnings
from types import TracebackType
from typing import Any, Self

from cimsim.api.chip_work import ChipWork
from cimsim.stages.plan import RunPlan

__all__ = ["PointBar", "RunBar"]

FORMAT = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"


class _Bar:
    """A bar of tqdm, of Jupyter's own kind where ipywidgets are installed.

    Args:
        shown: whether it is drawn; None draws in notebooks and on terminals.
    """

    def __init__(self, *, shown: bool | None) -> None:
        with warnings.catch_warnings():
            # Without ipywidgets the bar is one of text: nothing that a reader has to mend.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm  # noqa: PLC0415 - only calls that take long need it
        if shown is None:
            shown = "ipykernel" in sys.modules or sys.stderr.isatty()
        self._bar: Any = tqdm(total=1, bar_format=FORMAT, disable=not shown, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        self._bar.write(text, file=sys.stderr)

    def _show(self, done: float, total: float, words: str) -> None:
        self._bar.total, self._bar.n = total, min(done, total)
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.refresh()


class RunBar(_Bar):
    """One bar for all chips of a run, in the seconds that their stages usually take.

    Args:
        plan: the run.
        shown: whether it is drawn; None draws in notebooks and on terminals.
    """

    def __init__(self, plan: RunPlan, *, shown: bool | None = None) -> None:
        super().__init__(shown=shown)
        self._work = {task.name: ChipWork(task) for task in plan.tasks}

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Show that a chip has begun a stage."""
        self._work[name].begin(stage, fraction)
        self._all(f"{name}: {stage}")

    def finished(self, name: str) -> None:
        """Show that a chip is done."""
        self._work[name].end()
        self._all(f"{name}: done")

    def _all(self, words: str) -> None:
        work = self._work.values()
        self._show(sum(w.done for w in work), sum(w.total for w in work), words)


class PointBar(_Bar):
    """One bar for the points of a sweep, stage by stage.

    Args:
        shown: whether it is drawn; None draws in notebooks and on terminals.
    """

    def __init__(self, *, shown: bool | None = None) -> None:
        super().__init__(shown=shown)
        self._words, self._points, self._done = "", 0, 0
        self._part: dict[str, float] = {}

    def begin(self, stage: str, points: int) -> None:
        """Show that so many points begin a stage."""
        self._words, self._points, self._done = stage, points, 0
        self._part.clear()

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Show how far a point is."""
        del stage
        self._part[name] = fraction
        self._all()

    def finished(self, name: str) -> None:
        """Show that a point is done."""
        self._part.pop(name, None)
        self._done += 1
        self._all()

    def _all(self) -> None:
        done = self._done + sum(self._part.values())
        self._show(done, max(1, self._points), f"{self._words}: {self._done} of {self._points}")
