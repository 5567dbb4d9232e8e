"""Reports: figures, a self-contained HTML page and markdown from the results of a run."""

from cimsim.report.write import write_report

__all__ = ["write_report"]
