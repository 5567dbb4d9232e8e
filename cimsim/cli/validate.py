"""``cimsim validate``: check chip files, plans and shapes, print their size, run nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import Plugins, load

if TYPE_CHECKING:
    from cimsim.config import ChipConfig
    from cimsim.config.sweep import SweepPlan
    from cimsim.model import Checkpoint

DEFAULT_CHIP = "isaac"
"""On which a model is tried where no chip is named."""


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("validate")(validate)


def validate(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Chip or macro files, sweep plans, shapes, or names of bundled ones."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. tile.adc.bits=6.")
    ] = None,
    plugins: Plugins = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Bundled model or checkpoint folder: says in a table what it is, and what a run "
            "of it takes of this machine (default olmoe-tiny, without the table)."
        ),
    ] = None,
) -> None:
    """Check files: formats, bounds, knobs without effect, whether the model fits; plans whole."""
    from cimsim.chip import analog_units, build_system
    from cimsim.config.bundled import find_published
    from cimsim.config.load import config_hash, load_chip
    from cimsim.config.sweep_file import find_sweep, load_sweep
    from cimsim.cost import CostModel
    from cimsim.errors import CimsimError
    from cimsim.mac import knobs_without_effect, unpaid_writes, unused_range
    from cimsim.model import build_program
    from cimsim.stages.models import open_model
    from cimsim.stages.shapes import is_shape_name, open_shape

    load(plugins)
    if not files and model is None:
        raise CimsimError(
            "nothing to check", allowed="chip files, sweep plans, shapes, or --model with a folder"
        )
    checkpoint = open_model(model or "olmoe-tiny")
    program = build_program(checkpoint)
    if model is not None:
        _print_model(checkpoint)
    for name in files or [DEFAULT_CHIP]:
        plan = find_sweep(name)
        if plan is not None:
            _validate_plan(plan, load_sweep(plan))
            continue
        if is_shape_name(name):
            _validate_shape(name)
            continue
        path = find_published(name)
        config = load_chip(path, tuple(overrides or ()))
        units = analog_units(program, config)
        needed = sum(u.crossbars for u in units)
        if _is_macro(config, needed):
            _validate_macro(path, config)
            continue
        open_shape(config.workload.shape)
        mesh = build_system(config, units)
        CostModel(config, mesh, program)  # a price that cannot be is refused before a run
        have = mesh.n_tiles * mesh.crossbars_per_tile
        chips = f" on each of {mesh.chips} chips" if mesh.chips > 1 else ""
        print(
            f"{path}: ok, chip {config_hash(config)[:12]}, {mesh.n_tiles} tiles on "
            f"{mesh.width}x{mesh.height} routers{chips}, {needed} of {have} "
            f"crossbars for {program.name}"
        )
        warnings = (
            *checkpoint.warnings,
            *knobs_without_effect(config),
            *unpaid_writes(config),
            *unused_range(config),
        )
        for warning in warnings:
            print(f"  warning: {warning}")
        if model is not None:
            _print_demands(checkpoint, config)


def _print_model(checkpoint: Checkpoint) -> None:
    """Print what was found in a folder."""
    from textwrap import wrap

    from cimsim.stages.model_table import describe_model

    print(f"{checkpoint.folder}: ok, {checkpoint.name}")
    for name, value in describe_model(checkpoint):
        for i, line in enumerate(wrap(value, 66)):
            print(f"  {'' if i else name:<12}{line}")


def _print_demands(checkpoint: Checkpoint, config: ChipConfig) -> None:
    """Print memory and time of each tile mode on this machine, and whether it fits."""
    from cimsim.stages.cores import usable_cores
    from cimsim.stages.memory import machine_bytes
    from cimsim.stages.model_table import demands

    tokens = f"{config.workload.tokens:,} tokens"
    print(f"  on this machine: {usable_cores()} cores, {machine_bytes() / 1e9:.1f} GB")
    print(f"  {'mode':<10}{'memory':>10}{'write a chip':>14}{'one pass of ' + tokens:>28}  fits")
    found = demands(checkpoint, config)
    for demand in found:
        print(
            f"  {demand.mode:<10}{demand.memory_bytes / 1e9:>7.1f} GB{demand.write_s:>12.2g} s"
            f"{demand.pass_s:>26.2g} s  {'yes' if demand.fits else 'NO'}"
        )
    if not found:
        print("  no matrix of the model is on crossbars")
    elif len(found) == 1:
        print("  folded: the tile cannot be folded faithfully")
    print("  times: analog products alone, from a probe of the largest matrix")


def _is_macro(config: ChipConfig, needed: int) -> bool:
    """Whether a chip has a stated size and no memory, and could never hold the model."""
    tiles, none = config.chip.tiles, config.memory.kind == "none"
    return none and tiles != "fit" and int(tiles) * config.tile.stacked_crossbars < needed


def _validate_macro(path: Path, config: ChipConfig) -> None:
    """Check a chip for its peak figures alone."""
    from cimsim.config.load import config_hash
    from cimsim.cost.peak import peak

    found = peak(config)
    print(
        f"{path}: ok, chip {config_hash(config)[:12]}, a macro of {config.chip.tiles} tiles "
        f"without memory, on which no model runs; peak {found.tops:.4g} TOPS, "
        f"{found.tops_per_w:.4g} TOPS/W"
    )


def _validate_shape(name: str) -> None:
    """Check a workload, and say what it takes."""
    from cimsim.stages.shapes import open_shape

    program = open_shape(name)
    weights = sum(m.size for m in program.matrices())
    print(
        f"{name}: ok, {program.name}: {len(program.layers)} layers, {weights:,} weights, "
        f"{program.linear_macs_per_token():,} multiply-accumulates per token in matrices"
    )


def _validate_plan(path: Path, plan: SweepPlan) -> None:
    """Check every point of a plan, and what it wants."""
    from cimsim.sweeps.run import check_plan

    points, wants = check_plan(plan)
    print(
        f"{path}: ok, {len(points.valid)} points of {len(plan.axes)} knobs; "
        f"{', '.join(map(str, (*wants.objectives, *wants.constraints)))}"
    )
