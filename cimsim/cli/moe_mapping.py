"""``python -m moe_mapping``: place experts, compare policies, check the reference figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.entry import new_app, run_app
from cimsim.cli.options import Plugins, load
from cimsim.cli.rows_text import print_row, print_rows
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.chip import ChipMesh
    from cimsim.config import ChipConfig
    from cimsim.workload.program import Program
    from cimsim.workload.trace import RoutingTrace
    from moe_mapping.problem import MappingProblem
    from moe_mapping.slots import SlotShape

__all__ = ["main"]

app = new_app(
    "Place and replicate mixture-of-experts weights on tiles, and compare placement policies."
)

Loads = Annotated[
    Path | None, typer.Option(help="CSV without header: a row per layer, a column per expert.")
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--replicas", min=1, max=1 << 20, help="Physical slots of all GPUs (experts included)."
    ),
]
Groups = Annotated[int, typer.Option(min=1, max=65_536, help="Expert groups.")]
Nodes = Annotated[int, typer.Option(min=1, max=65_536, help="Nodes of GPUs.")]
Gpus = Annotated[
    int,
    typer.Option(max=65_536, help="GPUs, or any groups of tiles with a fixed number of slots."),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Seed of the policies that draw random numbers.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and only that.")]
Chip = Annotated[str | None, typer.Option(help="Chip file, or the name of a bundled chip.")]
Trace = Annotated[
    Path | None, typer.Option(help="Routing trace: npz with experts [tokens, layers, k].")
]
Model = Annotated[str, typer.Option(help="Bundled model or checkpoint folder the trace is of.")]
PolicyName = Annotated[str, typer.Option(help="Placement policy.")]


@app.command()
def place(
    loads: Loads = None,
    replicas: Slots = None,
    groups: Groups = 1,
    nodes: Nodes = 1,
    gpus: Gpus = 1,
    policy: PolicyName = "auto",
    chip: Chip = None,
    trace: Trace = None,
    model: Model = "olmoe-tiny",
    plugins: Plugins = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Place experts with one policy: on slots (--loads) or on a chip (--chip, --trace)."""
    from moe_mapping.loads import read_loads
    from moe_mapping.registry import policy_named
    from moe_mapping.table import place_on_chip, place_timed, warm_up

    load(plugins)
    policy_named(policy)
    if _wants_chip(loads, chip, trace):
        problem, _ = _chip_problem(chip, trace, model)
        print_row(place_on_chip(problem, policy, seed).answer(), as_json=as_json)
        return
    table = read_loads(_given(loads, "--loads"))
    shape = _shape(replicas, groups, nodes, gpus, table.shape[1])
    compile_seconds = warm_up()
    answer = place_timed(table, shape, policy, seed).answer()
    print_row({**answer, "compile_seconds": compile_seconds}, as_json=as_json)


@app.command()
def compare(
    loads: Loads = None,
    replicas: Slots = None,
    groups: Groups = 1,
    nodes: Nodes = 1,
    gpus: Gpus = 1,
    chip: Chip = None,
    trace: Trace = None,
    model: Model = "olmoe-tiny",
    plugins: Plugins = None,
    seed: Seed = 0,
    figure: Annotated[
        Path | None, typer.Option(help="Draw tile loads of all policies: .svg, .png or .pdf.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run all policies on one problem: a table, and a figure of the load on the mesh."""
    from moe_mapping.figure import draw_chip, draw_slots
    from moe_mapping.loads import read_loads
    from moe_mapping.table import compare_on_chip, compare_slots, warm_up

    load(plugins)
    if _wants_chip(loads, chip, trace):
        problem, mesh = _chip_problem(chip, trace, model)
        rows = compare_on_chip(problem, seed)
        if figure is not None:
            draw_chip(figure, rows, mesh.tile_cells)
        print_rows([row.figures() for row in rows], as_json=as_json)
        return
    table = read_loads(_given(loads, "--loads"))
    shape = _shape(replicas, groups, nodes, gpus, table.shape[1])
    warm_up()
    slot_rows = compare_slots(table, shape, seed)
    if figure is not None:
        draw_slots(figure, slot_rows, table, shape.devices)
    print_rows([row.figures() for row in slot_rows], as_json=as_json)


@app.command()
def remap(
    chip: Annotated[str, typer.Option(help="Chip file, or the name of a bundled chip.")],
    trace: Annotated[Path, typer.Option(help="Routing trace that the chip is placed for.")],
    now: Annotated[Path, typer.Option(help="Routing trace that it meets.")],
    model: Model = "olmoe-tiny",
    plugins: Plugins = None,
    slack: Annotated[
        float, typer.Option(min=0, help="Stop within this share of the lower bound.")
    ] = 0.05,
    moves: Annotated[int | None, typer.Option(min=0, help="Most copies to program.")] = None,
    as_json: AsJson = False,
) -> None:
    """Follow a drift of the load on a chip: few moves, or placed anew; gain and cost."""
    from dataclasses import asdict

    from cimsim.stages.migrating import follow_drift
    from cimsim.stages.placed_chip import place_chip

    load(plugins)
    config, program = _opened(chip, model)
    before, after = (_routing(path, program) for path in (trace, now))
    placed = place_chip(config, program, before)
    found = follow_drift(placed, after, slack=slack, most_moves=moves)
    print_rows([asdict(row) for row in found], as_json=as_json)


@app.command()
def reference(
    folder: Annotated[
        Path, typer.Argument(help="Folder with eplb_reference.csv and loads/INSTANCE.csv.")
    ],
    policy: PolicyName = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a policy on reference instances beside the published figures."""
    from moe_mapping.loads import read_loads, read_reference
    from moe_mapping.table import place_timed, warm_up

    instances = read_reference(folder)
    compile_seconds = warm_up()
    rows = []
    for instance in instances:
        table = read_loads(folder / "loads" / f"{instance.name}.csv")
        figures = place_timed(table, instance.shape, policy, 0).figures()
        rows.append(
            {
                "instance": instance.name,
                **figures,
                "eplb_mean": instance.eplb_mean,
                "bound_mean": instance.bound_mean,
            }
        )
    print_rows(rows, as_json=as_json)
    if not as_json:
        print(f"compiling or loading compiled policies took {compile_seconds:.2f} s")


def _wants_chip(loads: Path | None, chip: str | None, trace: Path | None) -> bool:
    if (chip is None) != (trace is None):
        raise CimsimError("--chip and --trace go together")
    if chip is not None and loads is not None:
        raise CimsimError("give either --loads or --chip and --trace, not both")
    return chip is not None


def _given(path: Path | None, option: str) -> Path:
    if path is None:
        raise CimsimError(f"{option} is missing", hint="or give --chip and --trace")
    return path


def _shape(replicas: int | None, groups: int, nodes: int, gpus: int, experts: int) -> SlotShape:
    from moe_mapping.slots import SlotShape

    shape = SlotShape(experts if replicas is None else replicas, groups, nodes, gpus)
    shape.check(experts)
    return shape


def _chip_problem(
    chip: str | None, trace: Path | None, model: str
) -> tuple[MappingProblem, ChipMesh]:
    """Return the mapping problem of a model on a chip, and its mesh."""
    from cimsim.chip import analog_units, build_system
    from cimsim.cost import CostModel
    from cimsim.stages.placing import problem_of

    config, program = _opened(str(chip), model)
    routing = _routing(Path(str(trace)), program)
    units = analog_units(program, config)
    mesh = build_system(config, units)
    if mesh.chips > 1:
        raise CimsimError(
            "policies are compared on one chip", key="system.chips", value=mesh.chips, allowed="1"
        )
    cost = CostModel(config, mesh, program)
    return problem_of(config, mesh, program, units, cost, routing), mesh


def _opened(chip: str, model: str) -> tuple[ChipConfig, Program]:
    from cimsim.config.load import find_chip, load_chip
    from cimsim.model import build_program
    from cimsim.stages.models import open_model

    return load_chip(find_chip(chip)), build_program(open_model(model))


def _routing(path: Path, program: Program) -> RoutingTrace:
    from cimsim.workload.trace import load_trace

    return load_trace(path, program)


def main() -> None:
    """Run the command line and exit."""
    run_app(app, "moe-mapping")
