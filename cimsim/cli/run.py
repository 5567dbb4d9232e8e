"""``cimsim run``: chips and models in, one report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import Cluster, Device, NoCache, Plugins, folder_of


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("run")(run)


def run(
    files: Annotated[list[str], typer.Argument(help="Chip files, or names of bundled chips.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a knob, e.g. tile.adc.bits=6."),
    ] = None,
    plugins: Plugins = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="Bundled model or Hugging Face folder; may repeat."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="UTF-8 text to score instead of the bundled one.")
    ] = None,
    bos: Annotated[
        str,
        typer.Option(
            help="Whether windows begin with the tokenizer's BOS token: auto (as its files say), "
            "always or never."
        ),
    ] = "auto",
    check: Annotated[
        str,
        typer.Option(
            envvar="CIMSIM_CHECK",
            help="Whether clean perplexity of a folder is compared with transformers' first: auto "
            "(where that can be done), always or never.",
        ),
    ] = "auto",
    tokens: Annotated[
        int | None,
        typer.Option(min=2, max=1 << 24, help="Scored tokens (workload.tokens of every chip)."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Seed (run.seed of every chip).")
    ] = None,
    device: Device = None,
    correction: Annotated[
        Path | None, typer.Option(help="Apply a saved correction instead of calibrating.")
    ] = None,
    force: Annotated[
        bool, typer.Option(help="Apply a correction made for another model or chip.")
    ] = False,
    engine: Annotated[
        str | None, typer.Option(help="What schedules events: auto, simpy or compiled.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run (default: reports/<run hash>).")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what a non-empty folder holds.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that the folder holds.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Chips simulated at once (default: all cores).")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of a chip (default: cores / jobs).")
    ] = None,
    cluster: Cluster = None,
    no_cache: NoCache = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rows of results.csv as JSON.")
    ] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Print speed and energy of the tiny model too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Check everything, print what would run, compute nothing.")
    ] = False,
) -> None:
    """Simulate models on chips: accuracy, latency, energy and a report."""
    from cimsim.cli.progress import Progress
    from cimsim.cli.summary import print_plan, print_summary
    from cimsim.session import run_plan
    from cimsim.stages.gate import check_rule
    from cimsim.stages.plan import Request, check_models, make_plan

    extra = [
        ("workload.tokens", tokens),
        ("run.seed", seed),
        ("run.engine", engine),
        ("run.device", device),
    ]
    knobs = [*(overrides or ()), *(f"{key}={value}" for key, value in extra if value is not None)]
    plan = make_plan(
        Request(
            chips=tuple(files),
            overrides=tuple(knobs),
            plugins=tuple(plugins or ()),
            models=tuple(models or ("olmoe-tiny",)),
            text=text,
            bos=bos,
            check=check_rule(check),
            correction=correction,
            force=force,
            out=out,
            overwrite=overwrite,
            resume=resume,
            jobs=jobs,
            threads=threads,
            cluster=cluster,
            cache=folder_of(no_cache),
        )
    )
    if dry_run:
        print_plan(plan)
        return
    with Progress(plan) as progress:
        for warning in plan.warnings:
            progress.note(f"warning: {warning}")
        check_models(plan, progress.note)
        results = run_plan(plan, progress)
    print_summary(results, as_json=as_json, folder=str(plan.folder.path), tiny=tiny)
