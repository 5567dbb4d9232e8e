"""``cimsim search``: the best points of a design space, without evaluating all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import Cluster, NoCache, Plugins, folder_of, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("search")(search)


def search(
    plan: Annotated[str, typer.Argument(help="A plan: file or bundled name.")],
    plugins: Plugins = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Points evaluated (default: search.trials).")
    ] = None,
    time: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds after which no point is begun.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the sampler (default: search.seed).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the search (default: reports/NAME-search).")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Optuna's storage URL (default: sqlite, study.db in the folder)."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Points evaluated at once; part of the sequence.")
    ] = 1,
    cluster: Cluster = None,
    no_cache: NoCache = False,
) -> None:
    """Search a plan with Optuna; the same command goes on where one was stopped."""
    from cimsim.cli.sweep import print_results
    from cimsim.cli.sweep_progress import PointProgress
    from cimsim.config.sweep_file import find_sweep, load_sweep
    from cimsim.errors import CimsimError
    from cimsim.sweeps.open_executor import open_executor
    from cimsim.sweeps.output import write_tables
    from cimsim.sweeps.report import write_sweep_report
    from cimsim.sweeps.search import SearchRun, prepare_search

    files = load(plugins)
    path = find_sweep(plan)
    if path is None:
        raise CimsimError("no such plan", value=plan, hint="a YAML file, or a bundled name")
    wanted = load_sweep(path)
    if seed is not None:
        knobs = wanted.search.model_copy(update={"seed": seed})
        wanted = wanted.model_copy(update={"search": knobs})
    checked = prepare_search(wanted, out, storage)
    with open_executor(jobs, cluster=cluster, plugins=files) as executor:
        run = SearchRun(checked, executor, PointProgress(), jobs, folder_of(no_cache))
        results = run.run(trials or wanted.search.trials, time)
    written = ("report.html", *write_tables(checked.folder, results))
    write_sweep_report(checked.folder, results)
    print_results(results, str(checked.folder.path), (*written, "study.db"))
