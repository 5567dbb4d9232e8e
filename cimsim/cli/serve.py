"""``cimsim serve``: latency of requests against the rate at which they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import Model, Phase, Plugins, Shape, load

if TYPE_CHECKING:
    from cimsim.config import ChipConfig
    from cimsim.workload.program import Program
    from cimsim.workload.trace import RoutingTrace


MOST_VISITS = 1 << 26  # half a gigabyte of visits while they are drawn


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("serve")(serve)


def serve(
    chip: Annotated[str, typer.Argument(help="Chip file, or name of a bundled chip.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a knob, e.g. system.chips=4."),
    ] = None,
    plugins: Plugins = None,
    model: Model = "olmoe-tiny",
    shape: Shape = None,
    phase: Phase = "decode",
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Requests in flight at once.")] = 8,
    loads: Annotated[
        str, typer.Option(help="Arrival rates as shares of the capacity, comma-separated.")
    ] = "0.2,0.4,0.6,0.8,0.9",
    rates: Annotated[
        str | None, typer.Option(help="Arrival rates in requests/s instead, comma-separated.")
    ] = None,
    arrivals: Annotated[
        Path | None, typer.Option(help="Recorded arrivals instead: a time in seconds per line.")
    ] = None,
    routing: Annotated[
        Path | None, typer.Option(help="Recorded routing (npz); else it is synthetic.")
    ] = None,
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Synthetic requests.")] = 200,
    length: Annotated[
        int, typer.Option(min=1, max=65_536, help="Tokens of a synthetic request.")
    ] = 16,
    popularity: Annotated[
        str, typer.Option(help="Popularity of synthetic experts: zipf or gamma.")
    ] = "zipf",
    skew: Annotated[float, typer.Option(help="Exponent of zipf, shape of gamma.")] = 0.6,
    correlation: Annotated[
        float, typer.Option(help="Share of tokens whose experts follow a topic in every layer.")
    ] = 0.0,
    drift: Annotated[
        int, typer.Option(help="Positions after which popularity moves on; 0 for never.")
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of routing and arrivals.")
    ] = 0,
    engine: Annotated[str, typer.Option(help="auto, simpy or compiled.")] = "auto",
    max_events: Annotated[
        int | None, typer.Option(min=1, help="Give a rate up after this many events.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Give a rate up after this time.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the curve into this file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curve into this file (.png, .svg).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Measure latency against load: Poisson or recorded arrivals on one chip."""
    from cimsim.cli.figure_path import check_figure, check_place
    from cimsim.cli.serve_output import Output
    from cimsim.errors import SimulationError
    from cimsim.stages.serving import Limits, prepare
    from cimsim.workload.arrivals import load_arrivals

    load(plugins)
    check_figure(plot, "--plot")
    check_place(csv, "--csv")
    check_choice("--phase", phase, ("decode", "prefill"))
    check_choice("--popularity", popularity, ("zipf", "gamma"))
    config, program = open_program(chip, tuple(overrides or ()), model, shape)
    given = _rates(rates, "--rates") if rates is not None else None
    shares = _rates(loads, "--loads")
    times = None if arrivals is None else load_arrivals(arrivals)
    trace = routing_of(
        program, routing, requests, length, (popularity, skew, correlation, drift), seed
    )
    output = Output(csv=csv, plot=plot, as_json=as_json)
    server = prepare(
        config, program, trace, shape=shape is not None, phase=phase, batch=batch, engine=engine,
        limits=Limits(max_events, max_seconds),
    )  # fmt: skip
    try:
        closed = server.closed_loop()
        output.add(closed)
        capacity = closed.completed_per_s
        if times is not None:
            output.add(server.at_times(times, capacity))
        else:
            for rate in given or tuple(share * capacity for share in shares):
                output.add(server.at_rate(rate, capacity, seed))
    except SimulationError as error:
        output.finish(partial=error.message)
        raise
    output.finish()


def open_program(
    chip: str, overrides: tuple[str, ...], model: str, shape: str | None
) -> tuple[ChipConfig, Program]:
    """Return a chip, and a model or a full-size shape in its place."""
    from cimsim.config.load import find_chip, load_chip
    from cimsim.model import build_program
    from cimsim.stages.models import open_model
    from cimsim.stages.shapes import open_shape

    config = load_chip(find_chip(chip), overrides)
    program = open_shape(shape) if shape else build_program(open_model(model))
    return config, program


def _rates(text: str, option: str) -> tuple[float, ...]:
    """Read positive numbers separated by commas."""
    from math import isfinite

    from cimsim.errors import CimsimError

    found = []
    for item in text.split(","):
        try:
            value = float(item)
        except ValueError:
            value = float("nan")
        if not isfinite(value) or value <= 0:
            raise CimsimError(
                "must be positive numbers separated by commas", key=option, value=item
            )
        found.append(value)
    return tuple(found)


def routing_of(
    program: Program,
    path: Path | None,
    requests: int,
    length: int,
    shape: tuple[str, float, float, int],
    seed: int,
) -> RoutingTrace:
    """Return recorded routing, or a synthetic one."""
    from cimsim.errors import CimsimError
    from cimsim.workload.synthetic import Popularity, synthetic_trace
    from cimsim.workload.trace import load_trace

    if path is not None:
        return load_trace(path, program)
    visits = requests * length * len(program.moe_layers) * program.top_k
    if visits > MOST_VISITS:
        raise CimsimError(
            "so many tokens visit more experts than a routing trace holds",
            key="--requests",
            value=requests,
            allowed=f"at most {MOST_VISITS // (visits // requests)} of {length} tokens",
        )
    kind, skew, correlation, drift = shape
    popularity = Popularity(kind, skew, correlation, drift_tokens=drift)  # type: ignore[arg-type]
    return synthetic_trace(
        program, sequences=requests, length=length, popularity=popularity, seed=seed
    )


def check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed."""
    from cimsim.errors import CimsimError

    if value not in allowed:
        raise CimsimError("is not one of them", key=option, value=value, allowed=", ".join(allowed))
