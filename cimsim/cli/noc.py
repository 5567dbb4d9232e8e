"""``cimsim noc``: latency-load curves of a network on chip."""

from __future__ import annotations

from typing import Annotated

import typer

from cimsim.cli.options import Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("noc")(noc)


def noc(
    mesh: Annotated[
        str | None,
        typer.Option(help="Routers, WIDTHxHEIGHT; 8x8 if not given, 8x1 of a ring or full."),
    ] = None,
    topology: Annotated[
        str, typer.Option(help="mesh, torus, cmesh, ring, full, or a chip file (.yaml).")
    ] = "mesh",
    plugins: Plugins = None,
    concentration: Annotated[
        int | None, typer.Option(help="Nodes per router of a cmesh; 4 if not given.")
    ] = None,
    traffic: Annotated[
        str,
        typer.Option(help="uniform, transpose, tornado, hotspot, neighbor, bitcomp or shuffle."),
    ] = "uniform",
    hotspots: Annotated[
        str, typer.Option(help="ID:fraction,... of the packets; the rest is uniform.")
    ] = "",
    flits: Annotated[int, typer.Option(help="Flits per packet.")] = 1,
    vcs: Annotated[int, typer.Option(help="Virtual channels per port.")] = 4,
    buffer: Annotated[int, typer.Option(help="Flits a virtual channel's buffer holds.")] = 8,
    rates: Annotated[
        str, typer.Option(help="Offered rates, flits per node and cycle, comma-separated.")
    ] = "0.05,0.1,0.2,0.3,0.4",
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    runs: Annotated[int, typer.Option(help="Most independent runs per rate.")] = 16,
    period: Annotated[int, typer.Option(help="Cycles of a sampling period.")] = 1000,
    cycles: Annotated[int, typer.Option(help="Cycles after which a run is given up.")] = 1_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Simulate a network on chip flit by flit and print its latency-load curve.

    Rates are flits per node and cycle, times are cycles. Latency runs from a packet's
    creation, source queue included, to the arrival of its tail.
    """
    import json
    import sys
    import time
    from dataclasses import asdict

    from cimsim.engine.noc.curve import Sampling
    from cimsim.engine.noc.flit_state import FlitSettings
    from cimsim.engine.noc.request import noc_request, read_network

    load(plugins)
    request = noc_request(
        FlitSettings(read_network(mesh, topology, concentration), vcs, buffer),
        traffic=traffic,
        hotspots=hotspots,
        flits=flits,
        rates=rates,
        seed=seed,
        sampling=Sampling(runs=runs, period_cycles=period, max_cycles=cycles),
    )
    points = []
    start = time.monotonic()
    for point in request.points():
        if not point.stable:
            print(f"rate {point.offered:g}: unstable: {point.note}", file=sys.stderr)
        points.append(asdict(point))
        if not as_json:
            _print_row(asdict(point), first=len(points) == 1)
        spent, left = time.monotonic() - start, len(request.loads) - len(points)
        if spent > PATIENCE_S and left:
            estimate = spent * left / len(points)
            print(f"{left} rates to go, about {estimate:.0f} s", file=sys.stderr)
    if as_json:
        print(json.dumps(points, indent=2))


PATIENCE_S = 2.0
COLUMNS = ("offered", "accepted", "latency_mean", "latency_ci95", "latency_p99", "hops", "packets")


def _print_row(point: dict[str, object], *, first: bool) -> None:
    if first:
        print("  ".join(f"{name:>12}" for name in COLUMNS))
    cells = [point[name] for name in COLUMNS]
    texts = ["-" if cell is None else f"{cell:.5g}" for cell in cells]
    print("  ".join(f"{text:>12}" for text in texts) + ("" if point["stable"] else "  unstable"))
