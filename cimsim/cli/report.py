"""``cimsim report``: tables and report of a run anew, from the chips that it has finished."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("report")(report)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, also one that was stopped.")],
    baselines: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            help="Digital device that the report shows beside the chips: h200, a100, tpu_v4i, or "
            "a file; may repeat.",
        ),
    ] = None,
) -> None:
    """Write tables and report of a run anew, from the chips that it has finished."""
    from cimsim.cli.summary import print_summary
    from cimsim.session import report_again

    results = report_again(folder, baselines or ())
    print_summary(results, as_json=False, folder=str(folder))
