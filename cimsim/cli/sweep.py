"""``cimsim sweep``: a design space in, its best points and what matters out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import Cluster, NoCache, Plugins, folder_of, load

if TYPE_CHECKING:
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
    from cimsim.api.run_options import RunOptions
    from cimsim.api.sweep import carry_out, find_plan, write_up
    from cimsim.cli.sweep_progress import PointProgress
    from cimsim.stages.cores import usable_cores
    from cimsim.sweeps.run import prepare_sweep

    files = load(plugins)
    scored = None if accuracy is None else accuracy is AccuracySwitch.ON
    plan = find_plan(what, axes=axes, overrides=tuple(overrides or ()), accuracy=scored)
    checked = prepare_sweep(plan, out, skip_invalid=skip_invalid)
    if dry_run:
        print(f"{len(checked.points.valid)} points of {plan.name}, into {checked.folder.path}")
        return
    options = RunOptions(jobs=jobs or usable_cores(), cluster=cluster, plugins=files)
    results = carry_out(checked, options, PointProgress(), folder_of(no_cache))
    print_results(results, str(checked.folder.path), write_up(checked, results))


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
