"""Program-verify of the worst cells: what as many rewrites buy without any calibration.

Every stored weight of the chip is read back exactly, which flatters this baseline, and the
worst ones are written again, in a few rounds that share the budget evenly: each round
rewrites those weights that err most after the rounds before it, with fresh noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.mac import ProgrammedMatrix
from cimsim.mac.program import write_ideal
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.stored_copies import StoredCopies
from cimsim.workload.matrix import MatrixId

__all__ = ["ROUNDS", "verify_worst"]

ROUNDS = 4
Place = tuple[MatrixId, int]
Values = NDArray[np.float64]


def verify_worst(deployment: ProgrammedChip, cells: int) -> tuple[ProgrammedChip, int]:
    """Return the chip after rewriting its worst cells, and how many were written.

    Args:
        deployment: the programmed chip.
        cells: greatest number of cells that may be written.

    Raises:
        CimsimError: if the cells read with noise of their own, which is not modelled here.
    """
    copies = _copies(deployment)
    target = {p: _levels(*write_ideal(c.encoded, c.tile)) for p, c in copies.items()}
    values = {p: _levels(c.cells.wide(), c.cells.grid) for p, c in copies.items()}
    per_weight = {p: c.formats.tiling.cells / target[p].size for p, c in copies.items()}
    written = 0.0
    for turn in range(1, ROUNDS + 1):
        room = cells * turn / ROUNDS - written
        chosen = _worst(values, target, per_weight, room)
        written += sum(per_weight[p] * int(mask.sum()) for p, mask in chosen.items())
        for place, mask in chosen.items():
            if mask.any():
                copy = copies[place]
                fresh = copy.rewritten(replace(copy.writing, count=turn)).cells
                again = _levels(fresh.wide(), fresh.grid)
                values[place] = np.where(mask, again, values[place])
    programmed = {
        matrix: tuple(_with(copies[(matrix, r)], values[(matrix, r)]) for r in range(len(known)))
        for matrix, known in deployment.programmed.items()
    }
    return replace(deployment, programmed=StoredCopies.of(programmed)), round(written)


def _copies(deployment: ProgrammedChip) -> dict[Place, ProgrammedMatrix]:
    found: dict[Place, ProgrammedMatrix] = {}
    for matrix, copies in deployment.programmed.items():
        for replica, copy in enumerate(copies):
            if not isinstance(copy, ProgrammedMatrix) or copy.cells.squares is not None:
                raise CimsimError(
                    "program-verify of single cells is modelled for analog cells without read "
                    "noise of their own",
                    key="tile.device.read_noise.sigma",
                    allowed="0",
                )
            found[(matrix, replica)] = copy
    return found


def _levels(values: NDArray[np.float32] | Values, grid: float) -> Values:
    return np.asarray(values, dtype=np.float64) * grid


def _worst(
    values: dict[Place, Values],
    target: dict[Place, Values],
    per_weight: dict[Place, float],
    cells: float,
) -> dict[Place, NDArray[np.bool_]]:
    """Choose the weights that err most, as many as a number of cells holds."""
    errors = {p: np.abs(values[p] - target[p]) for p in values}
    flat = np.concatenate([e.ravel() for e in errors.values()])
    cost = float(np.mean([per_weight[p] for p in errors]))
    count = min(len(flat), int(cells / cost))
    if count < 1:
        return {p: np.zeros(e.shape, dtype=np.bool_) for p, e in errors.items()}
    bound = np.partition(flat, len(flat) - count)[len(flat) - count]
    # Ties at the bound are left out: never more than the budget.
    return {p: e > bound for p, e in errors.items()}


def _with(copy: ProgrammedMatrix, values: Values) -> ProgrammedMatrix:
    grid, known = copy.cells.grid, copy.cells.wide()
    # On the grid that makes sums exact, and never wider than the widest cell was.
    widest = float(np.abs(known).max())
    codes = np.clip(np.rint(values / grid), -widest, widest)
    values = codes.astype(np.float32) if known.dtype == np.float32 else codes
    cells = replace(copy.cells, values=values)
    return ProgrammedMatrix(copy.tile, copy.encoded, cells, copy.adc_range, copy.writing)
