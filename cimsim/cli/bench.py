"""``cimsim bench``: speed, measured the same way every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import AsJson, folder_of
from cimsim.cli.rows_text import print_rows
from cimsim.errors import CimsimError


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    bench = typer.Typer(help="Measure speed: ratios, interleaved, medians.", no_args_is_help=True)
    bench.command("mac")(mac)
    bench.command("engine")(engine)
    bench.command("network")(network)
    bench.command("messages")(messages)
    bench.command("mapping")(mapping)
    bench.command("cost")(cost)
    bench.command("memory")(memory)
    bench.command("torch")(torch_tile)
    bench.command("backends")(backends)
    bench.command("points")(points)
    bench.command("sweep")(cached_sweep)
    bench.command("search")(search)
    app.add_typer(bench, name="bench")


def mac(as_json: AsJson = False) -> None:
    """Time the functional tile against sgemm of the same size."""
    from cimsim.bench.mac import run_mac_bench

    _print(run_mac_bench(), as_json=as_json)


def engine(
    as_json: AsJson = False,
    tokens: Annotated[
        int | None,
        typer.Option(min=256, help="Only the compiled engine, over this many tokens."),
    ] = None,
) -> None:
    """Time the event engines on full-size models, or the compiled one over many tokens."""
    from cimsim.bench.engine import run_engine_bench, run_long_bench

    _print(run_engine_bench() if tokens is None else run_long_bench(tokens), as_json=as_json)


def network(
    chips: Annotated[
        list[str] | None, typer.Argument(help="Chip files, or names of bundled chips (all).")
    ] = None,
    clock: Annotated[
        list[float] | None,
        typer.Option(min=0.01, max=100, help="Factor on the network's clock; may repeat (1)."),
    ] = None,
    model: Annotated[str, typer.Option(help="Bundled model, or folder.")] = "olmoe-tiny",
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Timed tokens, instead of each chip's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the error of the packet-level network against the flit level."""
    from cimsim.bench.network import run_network_bench
    from cimsim.config.bundled import bundled_chips

    sets = () if tokens is None else (f"workload.tokens={tokens}",)
    rows = list(run_network_bench(chips or [*bundled_chips()], clock or (1.0,), model, sets))
    if not rows:
        raise CimsimError("no phase of these chips can be run at both levels")
    print_rows(rows, as_json=as_json)


def messages(
    mesh: Annotated[str, typer.Option(help="Routers, as WIDTHxHEIGHT.")] = "4x4",
    pattern: Annotated[
        list[str] | None, typer.Option(help="Traffic pattern; may repeat (all).")
    ] = None,
    flits: Annotated[
        list[int] | None,
        typer.Option(min=1, max=1 << 16, help="Flits of a message; may repeat (4 to 4,096)."),
    ] = None,
    load: Annotated[
        list[float] | None,
        typer.Option(min=0.001, max=1, help="Utilisation of the busiest link; may repeat."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the error of the packet-level network on single messages."""
    from cimsim.bench.messages import LENGTHS, LOADS, PATTERNS, run_message_bench
    from cimsim.engine.noc.request import read_mesh

    shape = read_mesh(mesh, "mesh", None)
    rows = run_message_bench(shape, pattern or PATTERNS, flits or LENGTHS, load or LOADS)
    print_rows(list(rows), as_json=as_json)


def mapping(
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Which policies and parts of the search ever win.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(help="Folder of reference instances that --ablation places too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what expert placement gains in the engine over round robin."""
    from cimsim.bench.mapping import run_mapping_bench
    from cimsim.bench.mapping_ablation import run_mapping_ablation

    if not ablation:
        if reference is not None:
            raise CimsimError("--reference goes with --ablation")
        _print(run_mapping_bench(), as_json=as_json)
        return
    found = run_mapping_ablation(reference)
    if as_json:
        _print(found, as_json=True)
        return
    for rows in found.values():
        print_rows(rows, as_json=False)
        print()


def cost(
    chip: Annotated[str, typer.Argument(help="Chip file, or name of a bundled chip.")] = "isaac",
    tokens: Annotated[int, typer.Option(help="Scored and timed tokens.")] = 512,
    as_json: AsJson = False,
) -> None:
    """Measure the share of a short run that evaluating costs takes."""
    from cimsim.bench.cost import run_cost_bench

    _print(run_cost_bench(chip, tokens), as_json=as_json)


def memory(
    chips: Annotated[list[str], typer.Argument(help="Chip files, or names of bundled chips.")],
    as_json: AsJson = False,
) -> None:
    """Measure the peak memory of a run, all its processes together."""
    from cimsim.bench.memory import run_memory_bench

    _print(run_memory_bench(chips), as_json=as_json)


def torch_tile(
    as_json: AsJson = False,
) -> None:
    """Time the torch backend on a CUDA device against a plain bf16 product."""
    try:
        from cimsim.bench.torch_tile import run_torch_bench
    except ModuleNotFoundError as error:
        raise CimsimError(
            f"the torch bench needs {error.name}, which is not installed",
            hint="pip install 'cimsim[torch]', with CUDA",
        ) from error
    _print(run_torch_bench(), as_json=as_json)


def backends(
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Bundled model; may repeat (default: all).")
    ] = None,
    tokens: Annotated[int, typer.Option(min=256, help="Scored tokens.")] = 512,
    repetitions: Annotated[int, typer.Option(min=1, help="Paired repetitions.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time the torch backend on the processor against Numba, on the bundled models."""
    try:
        from cimsim.bench.backends import run_backend_bench
    except ModuleNotFoundError as error:
        raise CimsimError(
            f"the bench needs {error.name}, which is not installed",
            hint="pip install 'cimsim[torch]'",
        ) from error
    _print(run_backend_bench(models or (), tokens=tokens, repetitions=repetitions), as_json=as_json)


def points(
    count: Annotated[int, typer.Option("--points", min=10, help="Points of the sweep.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Measure a sweep of time, energy and area alone: CPU a point, memory, two processes."""
    from cimsim.bench.chip_alone import run_alone_bench

    _print(run_alone_bench(count), as_json=as_json)


def cached_sweep(as_json: AsJson = False) -> None:
    """Measure what the stage cache saves a sweep; ten minutes or more."""
    from cimsim.bench.cached_sweep import run_cached_bench

    _print(run_cached_bench(), as_json=as_json)


def search(
    plan: Annotated[str, typer.Argument(help="A plan: file or bundled name.")] = "isaac_space",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the whole grid (default: reports/NAME).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Points evaluated at once.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Evaluate a grid whole, then measure what searches of it find against chance."""
    from cimsim.bench.search import run_search_bench
    from cimsim.cli.sweep_progress import PointProgress
    from cimsim.config.sweep_file import find_sweep, load_sweep
    from cimsim.sweeps.open_executor import open_executor

    path = find_sweep(plan)
    if path is None:
        raise CimsimError("no such plan", value=plan, hint="a YAML file, or a bundled name")
    wanted = load_sweep(path)
    with open_executor(jobs) as executor:
        folder = out or Path("reports") / wanted.name
        found = run_search_bench(
            wanted, folder, executor, PointProgress(), folder_of(no_cache=False)
        )
    _print(found, as_json=as_json)


def _print(result: Mapping[str, object], *, as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(name)
            for key, inner in value.items():
                print(f"  {key}: {inner}")
        else:
            print(f"{name}: {value}")
