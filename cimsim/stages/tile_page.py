"""One page on a tile: its errors and their sources, the converter it wants, its cost.

The numbers are those of `cimsim.mac.study_tile` on one matrix and normal inputs, and of
`cimsim.cost` on a chip of no more tiles than that matrix takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.array_file import read_array
from cimsim.chip import Unit, UnitKey, build_mesh, tile_matrix
from cimsim.config import ChipConfig
from cimsim.cost.counts import ActionCounts
from cimsim.cost.ledger import Ledger
from cimsim.cost.model import CostModel
from cimsim.engine.sites import PSUM_BITS
from cimsim.errors import CimsimError
from cimsim.mac import TileStudy, knobs_without_effect, study_tile, unpaid_writes, unused_range
from cimsim.rng import derive_key, normals_at
from cimsim.stages.timing import density_of
from cimsim.workload.matrix import Matrix, MatrixId

__all__ = [
    "MvmCost",
    "TilePage",
    "read_matrix",
    "study_page",
    "write_figure",
]

_PURPOSE_STUDY = 11
_LAYER, _ROLE = 0, "dense_up"
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class MvmCost:
    """What one product of the matrix with one vector costs.

    Attributes:
        crossbars: crossbars that the matrix takes.
        interval_ps: between two vectors.
        latency_ps: of one vector alone.
        energy_fj: dynamic energy by component, at the densities that the study measured.
        conversions: ADC samples.
    """

    crossbars: int
    interval_ps: int
    latency_ps: int
    energy_fj: Mapping[str, float]
    conversions: int

    @property
    def total_fj(self) -> float:
        """Dynamic energy of all components."""
        return sum(self.energy_fj.values())


@dataclass(frozen=True)
class TilePage:
    """Everything on the page.

    Attributes:
        config: the chip.
        matrix: where the matrix comes from.
        shape: (n_in, n_out).
        tokens: input vectors.
        seed: of the chip, of fresh noise and of what was drawn.
        study: errors.
        cost: energy and time.
        notes: what the reader must know.
    """

    config: ChipConfig
    matrix: str
    shape: tuple[int, int]
    tokens: int
    seed: int
    study: TileStudy
    cost: MvmCost
    notes: tuple[str, ...]


def read_matrix(path: Path) -> NDArray[np.float32]:
    """Read a weight matrix [n_in, n_out] from a NumPy file.

    Raises:
        CimsimError: if there is no such file, or it holds anything but a matrix of finite
            real numbers.
    """
    found = read_array(path, "weight matrix", _MOST_BYTES)
    if found.dtype.kind not in "fiu":
        raise CimsimError("a weight matrix has real numbers", file=path, value=str(found.dtype))
    if found.ndim != 2 or found.size == 0:
        raise CimsimError(
            "a weight matrix has rows and columns",
            file=path,
            value=found.shape,
            allowed="[n_in, n_out]",
        )
    with np.errstate(over="ignore"):  # what single precision does not hold is refused below
        weight = np.ascontiguousarray(found, dtype=np.float32)
    if not np.isfinite(weight).all():
        raise CimsimError("a weight is not a finite number in single precision", file=path)
    return weight


def study_page(
    config: ChipConfig,
    *,
    matrix: str = "gaussian",
    rows: int | None = None,
    cols: int | None = None,
    tokens: int = 64,
    seed: int = 0,
) -> TilePage:
    """Study the tile of a chip on one matrix.

    Args:
        config: the chip.
        matrix: gaussian, or a .npy file of weights [n_in, n_out].
        rows: inputs of a drawn matrix; None takes the rows of a crossbar.
        cols: outputs of a drawn matrix; None takes 64.
        tokens: input vectors, standard normals.
        seed: of the chip, of fresh noise and of what is drawn.

    Raises:
        CimsimError: if crossbars are digital or unused, the file is no matrix, or a size is given
            for a file.
    """
    if not config.chip.analog_parts:
        raise CimsimError("nothing of this chip is on crossbars", key="chip.analog_parts")
    if matrix == "gaussian":
        shape = (rows or config.tile.crossbar.rows, cols or 64)
        if shape[0] * shape[1] * 4 > _MOST_BYTES:
            raise CimsimError("this matrix is too large to study", key="--rows", value=shape)
        weight = _normal(shape, seed, 0)
    elif rows is not None or cols is not None:
        raise CimsimError("the size of a matrix from a file is its own", key="--rows")
    else:
        weight = read_matrix(Path(matrix))
    inputs = _normal((tokens, weight.shape[0]), seed, 1)
    study = study_tile(
        config.tile,
        weight,
        inputs,
        chip_seed=seed,
        read_seed=seed,
        temperature_c=config.technology.temperature_c,
    )
    cost, notes = _cost(config, weight.shape, study)
    return TilePage(
        config=config,
        matrix=matrix,
        shape=(weight.shape[0], weight.shape[1]),
        tokens=tokens,
        seed=seed,
        study=study,
        cost=cost,
        notes=(
            *knobs_without_effect(config),
            *unpaid_writes(config),
            *unused_range(config),
            *notes,
        ),
    )


def _normal(shape: tuple[int, int], seed: int, what: int) -> NDArray[np.float32]:
    """Return standard normals of an address."""
    key = derive_key(seed, _PURPOSE_STUDY, what)
    found = [normals_at(shape[1], (row, 0, 0), key) for row in range(shape[0])]
    return np.asarray(found, dtype=np.float32)


def _cost(
    config: ChipConfig, shape: tuple[int, ...], study: TileStudy
) -> tuple[MvmCost, tuple[str, ...]]:
    """Charge one vector on a chip that holds nothing but the matrix."""
    made = Matrix(MatrixId(_LAYER, _ROLE), shape[0], shape[1])
    tiling = tile_matrix(made, config.tile)
    unit = Unit(UnitKey(_LAYER, "shared"), (tiling,))
    tiles = ceil(tiling.crossbars / config.tile.crossbars)
    small = config.model_copy(update={"chip": config.chip.model_copy(update={"tiles": tiles})})
    model = CostModel(small, build_mesh(small, tiling.crossbars), None, units=(unit,))
    timing = model.visit_timing(unit)
    ledger = Ledger()
    model.charge(
        ledger,
        ActionCounts(
            phase="mvm",
            tokens=0,
            makespan_ps=timing.interval_ps,
            unit_vectors={unit.key: 1},
            buffer_read_bits=made.n_in * config.tile.input.bits,
            buffer_write_bits=made.n_out * config.tile.input.bits,
            psum_bits=(len(tiling.row_blocks) - 1) * made.n_out * PSUM_BITS,
            busy_ps={"tile": tiles * timing.interval_ps},
        ),
        {unit.key: density_of(study.counts)},
        mapped_tiles=tiles,
    )
    energy: dict[str, float] = {}
    for row in ledger:
        if row.kind == "dynamic" and row.energy_fj > 0.0:
            energy[row.component] = energy.get(row.component, 0.0) + row.energy_fj
    cost = MvmCost(
        crossbars=tiling.crossbars,
        interval_ps=timing.interval_ps,
        latency_ps=timing.latency_ps,
        energy_fj=dict(sorted(energy.items(), key=lambda item: -item[1])),
        conversions=round(study.counts.conversions / study.counts.vectors),
    )
    return cost, model.notes


def write_figure(page: TilePage, path: Path | None) -> None:
    """Draw the page's figure, if one is wanted.

    Raises:
        CimsimError: if the file cannot be written.
    """
    if path is None:
        return
    # Matplotlib takes half a second to import: only figures pay for it.
    from cimsim.report.canvas import write_picture  # noqa: PLC0415
    from cimsim.report.tile_figure import tile_figure  # noqa: PLC0415

    n_in, n_out = page.shape
    title = f"{page.config.name}: {n_in} x {n_out} weights, {page.tokens} inputs"
    drawn = tile_figure(page.study, title, page.config.tile.adc.bits)
    write_picture(drawn, path)
