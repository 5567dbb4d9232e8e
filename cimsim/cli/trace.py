"""``cimsim trace``: what a chip does in a window of a phase, for ui.perfetto.dev."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import Model, Overrides, Phase, Plugins, Shape, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("trace")(trace)


def trace(
    chip: Annotated[str, typer.Argument(help="Chip file, or name of a bundled chip.")],
    out: Annotated[Path, typer.Option(help="File that is written: NAME.json.gz.")],
    overrides: Overrides = None,
    plugins: Plugins = None,
    model: Model = "olmoe-tiny",
    shape: Shape = None,
    phase: Phase = "decode",
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Sequences at once.")] = 8,
    length: Annotated[int, typer.Option(min=1, max=65_536, help="Tokens of a sequence.")] = 16,
    from_us: Annotated[float, typer.Option(min=0.0, help="Begin of the window.")] = 0.0,
    until_us: Annotated[
        float | None, typer.Option(min=0.0, help="End of the window; all by default.")
    ] = None,
    routing: Annotated[
        Path | None, typer.Option(help="Recorded routing (npz); else Zipf popularity of 0.6.")
    ] = None,
    slices: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Slices written, the first of the window.")
    ] = 5_000,
) -> None:
    """Write what every resource does in a window: memory, digital units, tiles, busiest links."""
    from cimsim.cli.figure_path import check_place
    from cimsim.cli.serve import check_choice, open_program, routing_of
    from cimsim.results import trace_json, write_gzip
    from cimsim.stages.tracing import TraceWindow, trace_activity
    from cimsim.text_file import write_whole

    load(plugins)
    check_place(out, "--out")
    check_choice("--phase", phase, ("decode", "prefill"))
    config, program = open_program(chip, tuple(overrides or ()), model, shape)
    drawn = routing_of(program, routing, batch, length, ("zipf", 0.6, 0.0, 0), 0)
    window = TraceWindow(phase, batch, from_us, until_us)
    activity = trace_activity(config, program, drawn, window, full_size=shape is not None)
    write_whole(out, write_gzip(trace_json([(config.name, activity)], slices)))
    shown = activity.first(slices)
    print(
        f"{out}: {len(shown.slices):,} slices of {activity.phase}, {shown.from_ps / 1e6:g} to "
        f"{shown.until_ps / 1e6:g} of {shown.end_ps / 1e6:g} us; open it at ui.perfetto.dev"
    )
    for link in activity.links:
        print(f"  busiest links: {link.name}, {100 * link.share:.1f} % of the phase")
