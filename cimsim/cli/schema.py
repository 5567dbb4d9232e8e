"""``cimsim schema``: the JSON Schema of chip files, for editors."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON Schema of chip files (use it with a YAML language server)."""
    import json

    from cimsim.config.chip import ChipConfig

    tree = ChipConfig.model_json_schema()
    tree["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    tree["properties"]["extends"] = {
        "type": "string",
        "description": "Chip file that this one varies: a path beside it or a bundled name.",
    }
    # A file without a name is named after itself.
    tree["required"] = [k for k in tree.get("required", []) if k != "name"]
    print(json.dumps(tree, indent=2))
