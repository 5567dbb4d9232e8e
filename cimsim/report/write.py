"""Write the report of a run into its folder."""

from __future__ import annotations

from pathlib import Path

from cimsim.errors import CimsimInternalError
from cimsim.report.beside import NO_BASELINES, BesideChips
from cimsim.report.view import View
from cimsim.results import RunFolder, RunResults

__all__ = ["write_report"]


def write_report(folder: RunFolder, run: RunResults, beside: BesideChips = NO_BASELINES) -> Path:
    """Write report.html, report.md and figures/.

    Args:
        folder: the run's folder, prepared.
        run: the finished chips, at least one; the report says if some are missing.
        beside: digital baselines.

    Returns:
        Path of report.html.

    Raises:
        CimsimError: if the folder cannot be written.
    """
    if not run.chips:
        message = "a report needs at least one finished chip"
        raise CimsimInternalError(message)
    # Matplotlib and Jinja take half a second to import: only runs that report pay for them.
    from cimsim.report.figures import draw_figures  # noqa: PLC0415
    from cimsim.report.markdown import markdown_report  # noqa: PLC0415
    from cimsim.report.page import html_page  # noqa: PLC0415
    from cimsim.report.sections import about_run, run_sections, run_title  # noqa: PLC0415

    view = View.of(run)
    own = tuple(f"{folder.chip_folder(c.name).removeprefix('chips/')}/" for c in run.chips)
    figures = draw_figures(view, own)
    told = run_title(view), about_run(view), run_sections(view, figures, beside)
    for picture in figures.all():
        folder.write(f"figures/{picture.name}.svg", picture.svg)
        if picture.png is not None:
            folder.write(f"figures/{picture.name}.png", picture.png)
    folder.write("report.md", markdown_report(*told))
    return folder.write("report.html", html_page(*told))
