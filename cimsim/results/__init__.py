"""Results: typed columns, tidy tables, statistics, Pareto fronts, files of a run."""

from cimsim.results.activity import KINDS, Activity, Counter, LinkUse, Track
from cimsim.results.column import Cell, Column, Empty, Row, number_of
from cimsim.results.components import (
    COMPONENTS,
    component_column,
    family_of,
    reported_component,
)
from cimsim.results.csv_file import csv_bytes, rows_from_csv
from cimsim.results.energy_rows import (
    ENERGY,
    component_energies,
    energy_rows,
    scale_energy,
    top_components,
)
from cimsim.results.loads import ExpertLoad, LatencySamples, TileLoad
from cimsim.results.manifest import Manifest
from cimsim.results.pairs import PAIRS, loss_change, pair_rows
from cimsim.results.pareto import pareto_front
from cimsim.results.run import ChipResult, RunResults
from cimsim.results.store import RunFolder
from cimsim.results.table import Table
from cimsim.results.trace_json import RUN_SLICES, trace_json, write_gzip

__all__ = [
    "COMPONENTS",
    "ENERGY",
    "KINDS",
    "PAIRS",
    "RUN_SLICES",
    "Activity",
    "Cell",
    "ChipResult",
    "Column",
    "Counter",
    "Empty",
    "ExpertLoad",
    "LatencySamples",
    "LinkUse",
    "Manifest",
    "Row",
    "RunFolder",
    "RunResults",
    "Table",
    "TileLoad",
    "Track",
    "component_column",
    "component_energies",
    "csv_bytes",
    "energy_rows",
    "family_of",
    "loss_change",
    "number_of",
    "pair_rows",
    "pareto_front",
    "reported_component",
    "rows_from_csv",
    "scale_energy",
    "top_components",
    "trace_json",
    "write_gzip",
]
