"""``cimsim sweep``: a design space in, its best points and what matters out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import Cluster, NoCache, Plugins, folder_of, load

if TYPE_CHECKING:
    from cimsim.config.sweep import SweepPlan
    from cimsim.sweeps.standing import SweepResults


class AccuracySwitch(StrEnum):
    """Whether models are scored."""

    ON = "on"
    OFF = "off"


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("sweep")(sweep)


def sweep(
    what: Annotated[
        list[str], typer.Argument(help="A plan (file or bundled name), or chips to vary.")
    ],
    axes: Annotated[
        list[str] | None,
        typer.Option("--axis", metavar="KNOB=V,V,...", help="Vary a knob; may repeat."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a knob in all points."),
    ] = None,
    plugins: Plugins = None,
    accuracy: Annotated[
        AccuracySwitch | None, typer.Option(help="off: time, energy and area alone.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep (default: reports/NAME).")
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out points that are no valid chips.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Points evaluated at once (default: all cores).")
    ] = None,
    cluster: Cluster = None,
    no_cache: NoCache = False,
    dry_run: Annotated[
        bool, typer.Option(help="Check everything, print what would run, compute nothing.")
    ] = False,
) -> None:
    """Evaluate every point of a plan; the same command goes on where one was stopped."""
    import os

    from cimsim.cli.sweep_progress import PointProgress
    from cimsim.sweeps.open_executor import open_executor
    from cimsim.sweeps.output import write_tables
    from cimsim.sweeps.report import write_sweep_report
    from cimsim.sweeps.run import SweepRun, prepare_sweep

    files = load(plugins)
    plan = _plan(what, axes, overrides, accuracy)
    checked = prepare_sweep(plan, out, skip_invalid=skip_invalid)
    if dry_run:
        print(f"{len(checked.points.valid)} points of {plan.name}, into {checked.folder.path}")
        return
    at_once = min(jobs or os.cpu_count() or 1, len(checked.points.valid))
    with open_executor(at_once, cluster=cluster, plugins=files) as executor:
        results = SweepRun(checked, executor, PointProgress(), folder_of(no_cache)).run()
    written = ("report.html", *write_tables(checked.folder, results))
    write_sweep_report(checked.folder, results)
    print_results(results, str(checked.folder.path), written)


def _plan(
    what: list[str],
    axes: list[str] | None,
    overrides: list[str] | None,
    accuracy: AccuracySwitch | None,
) -> SweepPlan:
    from cimsim.config.sweep_file import find_sweep, load_sweep, plan_of
    from cimsim.errors import CimsimError

    path = find_sweep(what[0])
    if path is None:
        mode = "on" if accuracy is None else accuracy.value
        return plan_of(tuple(what), tuple(axes or ()), tuple(overrides or ()), mode)
    for option, given in (("--axis", axes), ("--set", overrides), ("--accuracy", accuracy)):
        if given:
            raise CimsimError("stands in the plan", key=option, file=path, hint="edit the plan")
    if len(what) > 1:
        raise CimsimError("one plan at a time", value=", ".join(what))
    return load_sweep(path)


def print_results(results: SweepResults, folder: str, written: tuple[str, ...]) -> None:
    """Print the points on the front and where everything is.

    Raises:
        CimsimError: if no point meets the constraints; everything is written all the same.
        SimulationError: if points failed.
    """
    from cimsim.cli.rows_text import print_rows
    from cimsim.errors import CimsimError, SimulationError

    shown = [o.column for o in results.wants.objectives]
    front = [s for s in results.standings if s.status == "front"]
    if front:
        rows = [{"point": s.point.name, **{c: s.row.get(c) for c in shown}} for s in front]
        print_rows(rows, as_json=False)
    counts = [s.status for s in results.standings]
    said = ", ".join(f"{counts.count(s)} {s}" for s in dict.fromkeys(counts))
    print(f"{len(counts)} points: {said}")
    print(f"in {folder}: {', '.join(written)}")
    if sentence := results.nobody():
        raise CimsimError(sentence, key="constraints")
    if failed := counts.count("failed"):
        raise SimulationError(f"{failed} points failed", hint="the same command tries them again")
