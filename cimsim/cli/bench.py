"""``cimsim bench``: speed, measured the same way every time."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    bench = typer.Typer(help="Measure speed: ratios, interleaved, medians.", no_args_is_help=True)
    bench.command("mac")(mac)
    bench.command("engine")(engine)
    bench.command("mapping")(mapping)
    bench.command("cost")(cost)
    bench.command("memory")(memory)
    app.add_typer(bench, name="bench")


def mac(
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Time the functional tile against sgemm of the same size."""
    from cimsim.bench.mac import run_mac_bench

    _print(run_mac_bench(), as_json=as_json)


def engine(
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
    tokens: Annotated[
        int | None,
        typer.Option(min=256, help="Only the compiled engine, over this many tokens."),
    ] = None,
) -> None:
    """Time the event engines on full-size models, or the compiled one over many tokens."""
    from cimsim.bench.engine import run_engine_bench, run_long_bench

    _print(run_engine_bench() if tokens is None else run_long_bench(tokens), as_json=as_json)


def mapping(
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Measure what expert placement gains in the engine over round robin."""
    from cimsim.bench.mapping import run_mapping_bench

    _print(run_mapping_bench(), as_json=as_json)


def cost(
    chip: Annotated[str, typer.Argument(help="Chip file, or name of a bundled chip.")] = "isaac",
    tokens: Annotated[int, typer.Option(help="Scored and timed tokens.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Measure the share of a short run that evaluating costs takes."""
    from cimsim.bench.cost import run_cost_bench

    _print(run_cost_bench(chip, tokens), as_json=as_json)


def memory(
    chips: Annotated[list[str], typer.Argument(help="Chip files, or names of bundled chips.")],
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")] = False,
) -> None:
    """Measure the peak memory of a run, all its processes together."""
    from cimsim.bench.memory import run_memory_bench

    _print(run_memory_bench(chips), as_json=as_json)


def _print(result: dict[str, object], *, as_json: bool) -> None:
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
