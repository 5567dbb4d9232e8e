"""Reports: figures, a self-contained HTML page and markdown from the results of a run."""

from cimsim.report.beside import NO_BASELINES, BesideChips
from cimsim.report.write import write_report

__all__ = ["NO_BASELINES", "BesideChips", "write_report"]
