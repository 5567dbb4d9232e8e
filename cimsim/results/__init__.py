"""Results: typed columns, tidy tables, statistics, Pareto fronts, files of a run."""

from cimsim.results.activity import KINDS, Activity, Counter, Track
from cimsim.results.column import Cell, Column, Row, Table
from cimsim.results.columns import all_tables, explain_column, find_columns
from cimsim.results.compare import Change, compare_runs, read_results
from cimsim.results.components import (
    COMPONENTS,
    component_column,
    family_of,
    reported_component,
)
from cimsim.results.csv_file import csv_bytes, format_cell, rows_from_csv
from cimsim.results.detail_columns import ENERGY, PER_LAYER, PER_SEED, RESOURCES
from cimsim.results.energy_rows import (
    component_energies,
    energy_rows,
    scale_energy,
    top_components,
)
from cimsim.results.identities import results_row
from cimsim.results.manifest import Manifest
from cimsim.results.pairs import PAIRS, loss_change, pair_rows
from cimsim.results.pareto import pareto_front
from cimsim.results.peak_columns import AS_PUBLISHED, AS_RUN, PEAK
from cimsim.results.result_columns import results_table
from cimsim.results.run import (
    ChipResult,
    ExpertLoad,
    LatencySamples,
    RunResults,
    TileLoad,
)
from cimsim.results.scale_columns import SCALE
from cimsim.results.store import RunFolder
from cimsim.results.trace_json import RUN_SLICES, trace_json, write_gzip

__all__ = [
    "AS_PUBLISHED",
    "AS_RUN",
    "COMPONENTS",
    "ENERGY",
    "KINDS",
    "PAIRS",
    "PEAK",
    "PER_LAYER",
    "PER_SEED",
    "RESOURCES",
    "RUN_SLICES",
    "SCALE",
    "Activity",
    "Cell",
    "Change",
    "ChipResult",
    "Column",
    "Counter",
    "ExpertLoad",
    "LatencySamples",
    "Manifest",
    "Row",
    "RunFolder",
    "RunResults",
    "Table",
    "TileLoad",
    "Track",
    "all_tables",
    "compare_runs",
    "component_column",
    "component_energies",
    "csv_bytes",
    "energy_rows",
    "explain_column",
    "family_of",
    "find_columns",
    "format_cell",
    "loss_change",
    "pair_rows",
    "pareto_front",
    "read_results",
    "reported_component",
    "results_row",
    "results_table",
    "rows_from_csv",
    "scale_energy",
    "top_components",
    "trace_json",
    "write_gzip",
]
