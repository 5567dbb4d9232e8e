"""``cimsim.sweep``: a design space in, every point and how it came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.api.bars import PointBar
from cimsim.api.call_result import CallResult
from cimsim.api.overrides import Overrides, set_texts
from cimsim.api.run import PLAIN, folder_for
from cimsim.api.run_options import RunOptions
from cimsim.config.sweep import SweepPlan
from cimsim.config.sweep_file import find_sweep, load_sweep, plan_of
from cimsim.errors import CimsimError
from cimsim.plugins import load_plugins
from cimsim.sweeps.open_executor import open_executor
from cimsim.sweeps.output import write_tables
from cimsim.sweeps.report import write_sweep_report
from cimsim.sweeps.run import Sweep, SweepListener, SweepRun, prepare_sweep
from cimsim.sweeps.standing import SweepResults

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Swept", "carry_out", "find_plan", "sweep", "write_up"]


@dataclass(frozen=True)
class Swept(CallResult):
    """The points of a design space and how they came out.

    Attributes:
        results: everything behind the table.
        folder: where the report and all files are, or None if none were kept.
    """

    results: SweepResults
    folder: Path | None

    @property
    def title(self) -> str:
        """How many points came out how."""
        counts = Counter(s.status for s in self.results.standings)
        said = ", ".join(f"{n} {status}" for status, n in counts.items())
        return f"{self.results.plan.name}: {len(self.results.standings)} points, {said}"

    @property
    def notes(self) -> Sequence[str]:
        """Points left out, what limits a comparison, and that no point meets the constraints."""
        said = self.results.nobody()
        return (*self.results.notes, *self.results.invalid, *((said,) if said else ()))

    def to_frame(self) -> DataFrame:
        """Return a row per point, with the columns of sweep.csv."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        names, rows = self.results.table()
        return DataFrame(rows, columns=names)

    def front(self) -> DataFrame:
        """Return the points that no other beats in all objectives."""
        frame = self.to_frame()
        return frame[frame["status"] == "front"]

    def shown(self) -> DataFrame:
        """Return knobs, status and objectives, the front first."""
        frame = self.to_frame()
        wanted = [o.column for o in self.results.wants.objectives]
        columns = ["point", *self.results.knobs, "status", *(c for c in wanted if c in frame)]
        order = (frame["status"] != "front").to_numpy().argsort(kind="stable")
        return frame.iloc[order][columns]


def sweep(
    what: str | Path | Iterable[str | Path],
    *,
    axes: Mapping[str, Sequence[object]] | None = None,
    overrides: Overrides | None = None,
    accuracy: bool | None = None,
    out: str | Path | None = None,
    skip_invalid: bool = False,
    options: RunOptions = PLAIN,
    progress: bool | None = None,
) -> Swept:
    """Evaluate every point of a plan; what ``cimsim sweep`` does.

    Args:
        what: a plan (file or bundled name), or chips whose knobs vary, by file or name.
        axes: values of each varied knob, ``{"tile.adc.bits": [6, 7, 8]}``.
        overrides: knobs of all points.
        accuracy: False evaluates time, energy and area alone.
        out: folder of the sweep, which goes on where it was stopped; None keeps none.
        skip_invalid: leave out points that are no valid chips.
        options: processes, cache and the like.
        progress: whether a bar is drawn; None draws in notebooks and on terminals.

    Raises:
        CimsimError: on what is wrong, before anything is computed.
    """
    load_plugins(options.plugins)
    plan = find_plan(what, axes=axes, overrides=set_texts(overrides), accuracy=accuracy)
    with folder_for(out) as folder:
        checked = prepare_sweep(plan, folder, skip_invalid=skip_invalid)
        with PointBar(shown=progress) as bar:
            results = carry_out(checked, options, bar, options.cache)
        if out is not None:
            write_up(checked, results)
    return Swept(results, None if out is None else Path(out))


def find_plan(
    what: str | Path | Iterable[str | Path],
    *,
    axes: Mapping[str, Sequence[object]] | Iterable[str] | None,
    overrides: Sequence[str],
    accuracy: bool | None,
) -> SweepPlan:
    """Return a plan by name or file, or the one that a call spells out.

    Args:
        what: a plan, or chips.
        axes: values of each knob; or ``KNOB=V,V,...`` strings.
        overrides: ``KNOB=VALUE`` strings.
        accuracy: whether models are scored; None as the plan says, or yes.

    Raises:
        CimsimError: if a plan is given options that stand in it, or is one of several.
    """
    names = (what,) if isinstance(what, str | Path) else tuple(what)
    path = find_sweep(names[0]) if names else None
    given = {k: list(v) for k, v in axes.items()} if isinstance(axes, Mapping) else axes
    if path is None:
        mode = "off" if accuracy is False else "on"
        return plan_of(tuple(map(str, names)), set_texts(given), tuple(overrides), mode)
    switch = None if accuracy is None else ("on" if accuracy else "off")
    for option, value in (("--axis", axes), ("--set", overrides), ("--accuracy", switch)):
        if value:
            shown = list(value) if isinstance(value, Mapping) else value
            raise CimsimError(
                "stands in the plan", key=option, value=shown, file=path, hint="edit the plan"
            )
    if len(names) > 1:
        raise CimsimError("one plan at a time", value=", ".join(map(str, names)))
    return load_sweep(path)


def carry_out(
    checked: Sweep,
    options: RunOptions,
    listener: SweepListener,
    cache: Path | None,
) -> SweepResults:
    """Evaluate a checked sweep; every point is in its folder as soon as it is known.

    Args:
        checked: the sweep.
        options: processes, cluster and plug-ins.
        listener: hears how it goes.
        cache: folder of the stage cache, None to compute everything.
    """
    at_once = min(options.jobs, len(checked.points.valid))
    with open_executor(at_once, cluster=options.cluster, plugins=options.plugins) as executor:
        return SweepRun(checked, executor, listener, cache).run()


def write_up(checked: Sweep, results: SweepResults) -> tuple[str, ...]:
    """Write tables and report into the folder of a sweep; return what a reader opens first."""
    written = ("report.html", *write_tables(checked.folder, results))
    write_sweep_report(checked.folder, results)
    return written
