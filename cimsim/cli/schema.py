"""``cimsim schema``: the JSON Schema of chip files, sweep plans and shapes, for editors."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class SchemaKind(StrEnum):
    """What a file describes."""

    CHIP = "chip"
    SWEEP = "sweep"
    SHAPE = "shape"


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("schema")(schema)


def schema(
    kind: Annotated[
        SchemaKind, typer.Argument(help="Of what: chip files, sweep plans or shapes.")
    ] = SchemaKind.CHIP,
) -> None:
    """Print the JSON Schema of chip files, sweep plans or shapes (for a YAML language server)."""
    import json

    from cimsim.config.chip import ChipConfig
    from cimsim.config.section import Section
    from cimsim.config.shape import WorkloadShape
    from cimsim.config.sweep import SweepPlan

    models: dict[SchemaKind, type[Section]] = {
        SchemaKind.CHIP: ChipConfig,
        SchemaKind.SWEEP: SweepPlan,
        SchemaKind.SHAPE: WorkloadShape,
    }
    tree = models[kind].model_json_schema()
    tree["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    if kind is SchemaKind.CHIP:
        tree["properties"]["extends"] = {
            "type": "string",
            "description": "Chip file that this one varies: a path beside it or a bundled name.",
        }
    # A file without a name is named after itself.
    tree["required"] = [k for k in tree.get("required", []) if k != "name"]
    print(json.dumps(tree, indent=2))
