"""What a run produced, typed: the pipeline fills it, files and reports are made of it.

Everything here is plain data of one shape, so that the report needs nothing else. Arrays
are read, never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.results.activity import Activity
from cimsim.results.column import Row, Table
from cimsim.results.columns import all_tables
from cimsim.results.detail_columns import EXPERT_LOAD, LATENCY, TILE_LOAD
from cimsim.results.pairs import pair_rows
from cimsim.results.result_columns import DEFAULT_BATCHES, results_table
from cimsim.results.statistics import percentile

__all__ = ["ChipResult", "ExpertLoad", "LatencySamples", "RunResults", "TileLoad"]

PS_PER_US = 1e6
PERCENTS = (0, 1, 2, *range(5, 100, 5), 98, 99, 100)


@dataclass(frozen=True)
class TileLoad:
    """Busy time of every tile in decode: sum over visits of vectors x interval.

    Attributes:
        places: column and row of the router of every tile, [tiles, 2].
        cells: column and row in which every tile is drawn, [tiles, 2].
        holds_weights: bool [tiles].
        noisy_ps: load with the routing of the chip, [tiles].
        calibrated_ps: load after calibration, [tiles].
        round_robin_ps: the routing of `noisy_ps` placed round-robin, [tiles], or None.
        round_robin_holds_weights: bool [tiles] of that placement; None stands for its tiles
            that did work.
    """

    places: NDArray[np.int64]
    cells: NDArray[np.int64]
    holds_weights: NDArray[np.bool_]
    noisy_ps: NDArray[np.int64]
    calibrated_ps: NDArray[np.int64]
    round_robin_ps: NDArray[np.int64] | None = None
    round_robin_holds_weights: NDArray[np.bool_] | None = None

    @staticmethod
    def max_over_mean(load_ps: NDArray[np.int64], holds_weights: NDArray[np.bool_]) -> float:
        """Return the largest over the mean load of tiles that hold a weight."""
        held = load_ps[holds_weights]
        if len(held) == 0 or held.sum() == 0:
            message = "tile load needs a tile that holds a weight and did work"
            raise CimsimInternalError(message)
        return float(held.max() / held.mean())


@dataclass(frozen=True)
class ExpertLoad:
    """Tokens routed to every expert, summed over chip seeds.

    Attributes:
        layers: decoder layer of every row, [layers].
        clean: visits in the float model, [layers, experts].
        noisy: visits on the chip, [layers, experts].
        calibrated: visits after calibration, [layers, experts].
    """

    layers: tuple[int, ...]
    clean: NDArray[np.int64]
    noisy: NDArray[np.int64]
    calibrated: NDArray[np.int64]


@dataclass(frozen=True)
class LatencySamples:
    """Latencies of one phase.

    Attributes:
        phase: prefill, or decode_b<batch>.
        stage: noisy or calibrated.
        latency_us: time of every token (of every window in prefill), [samples].
    """

    phase: str
    stage: Literal["noisy", "calibrated"]
    latency_us: NDArray[np.float64]


@dataclass(frozen=True)
class ChipResult:
    """One chip with one model.

    Attributes:
        name: unique in the run; its folder under ``chips/``.
        row: of results.csv, made by its table's `row`.
        config_yaml: the resolved chip file.
        per_layer: rows of per_layer.csv.
        per_seed: rows of per_seed.csv.
        energy: rows of energy.csv.
        scale: rows of scale.csv.
        peak: rows of peak.csv.
        tile_load: busy time of tiles.
        expert_load: visits of experts.
        latency: samples, prefill first.
        resources: rows of resources.csv.
        activity: what its resources did, for the trace, or None.
        warnings: one sentence each, shown in the report.
        notes: assumptions and extrapolations behind its numbers, a phrase each.
        not_modelled: what the models of this chip leave out, one phrase each, such as
            "leakage of the DAC"; shown in the report.
        seconds: wall time, for the manifest only.
    """

    name: str
    row: Row
    config_yaml: str
    per_layer: tuple[Row, ...]
    per_seed: tuple[Row, ...]
    energy: tuple[Row, ...]
    scale: tuple[Row, ...]
    peak: tuple[Row, ...]
    tile_load: TileLoad
    expert_load: ExpertLoad
    latency: tuple[LatencySamples, ...]
    resources: tuple[Row, ...] = ()
    activity: Activity | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_modelled: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def tables(self, batches: Sequence[int]) -> dict[str, list[Row]]:
        """Return the rows of every table by its name.

        Args:
            batches: decode batch sizes whose columns results.csv has.
        """
        return {
            "results": [_widen(self.row, results_table(batches))],
            "per_layer": list(self.per_layer),
            "per_seed": list(self.per_seed),
            "pairs": [],  # one chip makes none
            "energy": list(self.energy),
            "scale": list(self.scale),
            "peak": list(self.peak),
            "tile_load": _tile_rows(self),
            "expert_load": _expert_rows(self),
            "latency": _latency_rows(self),
            "resources": list(self.resources),
        }


@dataclass(frozen=True)
class RunResults:
    """All chips of one command.

    Attributes:
        run_hash: sha256 of everything that decides the numbers.
        chips: finished chips, in the order of the command.
        text_name: name of the scored text.
        batches: decode batch sizes of all chips, rising.
        complete: whether every chip of the command is there.
    """

    run_hash: str
    chips: tuple[ChipResult, ...]
    text_name: str
    batches: tuple[int, ...] = DEFAULT_BATCHES
    complete: bool = True

    def tables(self) -> dict[str, list[Row]]:
        """Return the rows of every table of the run by its name, chips in order."""
        merged: dict[str, list[Row]] = {t.name: [] for t in self.schema()}
        for chip in self.chips:
            for name, rows in chip.tables(self.batches).items():
                merged[name] += rows
        merged["pairs"] = pair_rows([(chip.row, chip.per_seed) for chip in self.chips])
        return merged

    def schema(self) -> tuple[Table, ...]:
        """Return the tables of the run."""
        return all_tables(self.batches)


def _widen(row: Row, table: Table) -> Row:
    """Give a row the batch columns of other chips in the run, empty with a reason."""
    missing = [c.name for c in table.columns if c.name not in row]
    if not missing:
        return {c.name: row[c.name] for c in table.columns}
    extra = "; ".join(f"{name}: this chip does not run that batch size" for name in missing)
    known = row["empty_because"]
    reasons = f"{known}; {extra}" if known else extra
    wide: Row = {c.name: row.get(c.name) for c in table.columns}
    return {**wide, "empty_because": reasons}


def _names(chip: ChipResult) -> dict[str, object]:
    return {"config": chip.row["config"], "model": chip.row["model"]}


def _tile_rows(chip: ChipResult) -> list[Row]:
    load = chip.tile_load
    rows = []
    for tile in range(len(load.noisy_ps)):
        robin = None if load.round_robin_ps is None else load.round_robin_ps[tile] / PS_PER_US
        rows.append(
            TILE_LOAD.row(
                {
                    **_names(chip),
                    "tile": tile,
                    "x": load.places[tile, 0],
                    "y": load.places[tile, 1],
                    "holds_weights": bool(load.holds_weights[tile]),
                    "load_us": load.noisy_ps[tile] / PS_PER_US,
                    "load_us_calibrated": load.calibrated_ps[tile] / PS_PER_US,
                    "load_us_round_robin": robin,
                }
            )
        )
    return rows


def _expert_rows(chip: ChipResult) -> list[Row]:
    load = chip.expert_load
    shares = {
        stage: counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for stage, counts in (
            ("clean", load.clean),
            ("noisy", load.noisy),
            ("calibrated", load.calibrated),
        )
    }
    return [
        EXPERT_LOAD.row(
            {
                **_names(chip),
                "layer": layer,
                "expert": expert,
                **{f"share_{stage}": share[i, expert] for stage, share in shares.items()},
            }
        )
        for i, layer in enumerate(load.layers)
        for expert in range(load.clean.shape[1])
    ]


def _latency_rows(chip: ChipResult) -> list[Row]:
    return [
        LATENCY.row(
            {
                **_names(chip),
                "phase": samples.phase,
                "calibrated": samples.stage == "calibrated",
                "samples": len(samples.latency_us),
                "percent": float(percent),
                "latency_us": value,
            }
        )
        for samples in chip.latency
        for percent in PERCENTS
        if (value := percentile(samples.latency_us, percent)) is not None
    ]
