"""``cimsim compare``: chips made equal in area, throughput or power at a full-size shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.figure_path import check_figure
from cimsim.cli.options import Cluster, NoCache, Overrides, folder_of

if TYPE_CHECKING:
    from cimsim.stages.compare import Comparison
    from cimsim.stages.contenders import Contender
    from cimsim.stages.cost_spread import Spread
    from cimsim.stages.plan import Request

SHORT_TOKENS = 512


class Iso(StrEnum):
    """What is made equal."""

    AREA = "area"
    THROUGHPUT = "throughput"
    POWER = "power"


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("compare")(compare)


def compare(
    files: Annotated[
        list[str], typer.Argument(help="Two or more chip files, or names of bundled chips.")
    ],
    iso: Annotated[Iso, typer.Option(help="What is made equal.")] = Iso.AREA,
    reference: Annotated[
        str | None, typer.Option(help="Chip of which one copy is taken (default: the first).")
    ] = None,
    node: Annotated[
        float | None,
        typer.Option(min=1.0, help="Scale figures to this node, nm, as digital logic scales."),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(help="Full-size model whose shape is timed and charged: a name, or a file."),
    ] = "olmoe-1b-7b",
    batch: Annotated[
        int, typer.Option(help="Sequences that a copy decodes at once: 1 or 32.")
    ] = 32,
    equal_memory: Annotated[
        bool,
        typer.Option(
            "--equal-memory", help="Give every chip the off-chip memory of the reference."
        ),
    ] = False,
    no_memory_limit: Annotated[
        bool,
        typer.Option(
            "--no-memory-limit",
            help="Compare decode with off-chip memories that transfer in no time (batch 32).",
        ),
    ] = False,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Digital device beside the chips: h200, a100, tpu_v4i, or a file; may repeat."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of a run that holds these chips; nothing is simulated."),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(help=f"Scored tokens of the short run (default {SHORT_TOKENS}).")
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the short run (default olmoe-tiny).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep the short run and its report in this folder.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Chips simulated at once.")] = None,
    cluster: Cluster = None,
    no_cache: NoCache = False,
    csv: Annotated[Path | None, typer.Option(help="Write the systems as CSV.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a figure: .png or .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Take as much of every chip as equals the first: energy, speed, power, area, perplexity.

    Without --results the chips are run first, briefly: 512 scored tokens, the calibrator and
    chip seeds of each file.
    """
    from cimsim.config.baseline import open_baseline
    from cimsim.results.scale_rows import DECODE, FREE_MEMORY
    from cimsim.stages.compare import compare_chips
    from cimsim.stages.contenders import read_contenders
    from cimsim.stages.equal_memory import memory_of
    from cimsim.stages.plan import Request
    from cimsim.stages.shapes import open_shape

    check_figure(plot, "--plot")
    program, baselines = open_shape(shape), baseline or []
    for name in baselines:
        open_baseline(name)
    phase, notes = (FREE_MEMORY if no_memory_limit else DECODE), []
    if no_memory_limit:
        notes.append("off-chip memory transfers in no time; its latency and energy stay")
    if results is not None:
        given = {
            "--tokens": tokens,
            "--set": overrides,
            "--model": model,
            "--out": out,
            "--cluster": cluster,
            "--equal-memory": equal_memory,
        }
        _refuse(given)
        chips = read_contenders(results, _names(files), program.name, batch, phase)
        spreads = _spreads(results, chips, notes)
    else:
        shared = memory_of(files, reference) if equal_memory else None
        notes += [] if shared is None else [shared.note]
        knobs = () if shared is None else shared.settings
        request = Request(
            chips=tuple(files),
            overrides=(
                f"workload.tokens={tokens or SHORT_TOKENS}",
                f"workload.shape={shape}",
                *knobs,
                *(overrides or ()),
            ),
            models=(model or "olmoe-tiny",),
            out=out,
            jobs=jobs,
            cluster=cluster,
            cache=folder_of(no_cache),
        )
        chips, spreads = _run(request, program.name, batch, phase)
    comparison = compare_chips(
        chips, iso.value, reference=reference, node_nm=node, notes=notes, spreads=spreads
    ).beside(baselines, program)
    _show(comparison, csv, plot, as_json=as_json)
    if out is not None and not as_json:
        print(f"report: {out}/report.html")


def _show(comparison: Comparison, csv: Path | None, plot: Path | None, *, as_json: bool) -> None:
    """Write the files that were asked for, and the table or JSON."""
    import json

    from cimsim.cli.baseline_table import baseline_lines
    from cimsim.cli.compare_figure import write_comparison
    from cimsim.cli.compare_table import comparison_lines
    from cimsim.text_file import write_whole

    if csv is not None:
        write_whole(csv, comparison.frame().to_csv(index=False).encode("utf-8"))
    if plot is not None:
        write_comparison(plot, comparison)
    if as_json:
        print(json.dumps(comparison.as_dict(), indent=2))
    else:
        lines = [*comparison_lines(comparison), *baseline_lines(comparison.baselines)]
        print("\n".join(lines))


def _spreads(folder: Path, chips: list[Contender], notes: list[str]) -> dict[str, Spread] | None:
    """Return draws of the cost constants of chips that were run earlier, or note why not."""
    from cimsim.errors import CimsimError
    from cimsim.stages.contender_spreads import read_chips, spreads_of

    try:
        return spreads_of(chips, read_chips(folder))
    except CimsimError as error:
        notes.append(f"what cost constants do to rankings is not known: {error.sentence()}")
        return None


def _refuse(given: Mapping[str, object]) -> None:
    """Raise where an option was given that needs a run."""
    from cimsim.errors import CimsimError

    for key, value in given.items():
        if value:
            raise CimsimError("has no effect on results that exist", key=key, value=value)


def _names(files: list[str]) -> list[str]:
    """Return the chips' names: those of files, or as given."""
    from cimsim.config.load import load_chip

    return [load_chip(Path(f), ()).name if f.endswith((".yaml", ".yml")) else f for f in files]


def _run(
    request: Request, shape: str, batch: int, phase: str
) -> tuple[list[Contender], dict[str, Spread]]:
    """Run the chips into a folder, a temporary one unless it is to be kept."""
    from cimsim.api.compare import run_contenders, short_plan
    from cimsim.api.run import folder_for
    from cimsim.cli.progress import Progress

    with folder_for(request.out) as folder:
        plan = short_plan(replace(request, out=folder), batch)
        with Progress(plan) as progress:
            kept = request.out is not None
            return run_contenders(plan, shape, batch, progress, report=kept, phase=phase)
