"""A battery for device models."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Device, Tile
from cimsim.config.converter import FullRange, IsaacAdc
from cimsim.config.tile import WeightFormat
from cimsim.mac import DeviceModel, ProgrammedMatrix, Writing, calibrate_range, program_matrix
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.devices import device_model
from cimsim.mac.devices.base import fault_of_moments
from cimsim.testing.battery import run_checks
from cimsim.testing.slow_writing import column_values, conductance_of_lines
from cimsim.workload.matrix import MatrixId

__all__ = ["check_device_model"]

_GRID = np.linspace(0.0, 1.0, 101)
_ROWS, _COLUMNS = 64, 256
_MATRIX = MatrixId(0, "checked")
_MOST_LEVELS = 17  # so many levels, evenly spaced, are written and looked at
_SIGMAS = 5.0  # of its own error that a sampled moment may be off


def check_device_model(device: Device) -> tuple[str, ...]:
    """Check the device model that a configuration section chooses.

    Args:
        device: the section, e.g. ``CustomDevice(model="my_cell", cell_bits=2)``.

    Returns:
        Names of the checks that passed.

    Raises:
        CimsimError: naming the first check that fails and what it found.
    """
    bits = device.cell_bits + 1  # a pair whose cells hold whole magnitudes
    tile = Tile(
        weight=WeightFormat(bits=max(2, bits)),
        device=device.model_copy(update={"age_s": 0.0}),
        adc=IsaacAdc(range=FullRange()),  # cells are looked at, no sums
    )
    model = device_model(device, tile.weight.bits)
    tables = cell_tables(tile, 1, 0.0)
    written = _Written(tables)
    return run_checks(
        f"device {getattr(device, 'kind', type(device).__name__)}",
        [
            ("moments are finite and sigma is not negative", lambda: fault_of_moments(model)),
            ("moments are pure functions", lambda: _pure(model)),
            ("drift exponents and 1/f noise are finite and not negative", lambda: _time(model)),
            ("written cells have the moments that the model promises", written.moments),
            ("conductances are never negative", written.positive),
            ("two copies, two writes and two chips differ", lambda: _frozen(tile)),
            ("the compiled writer agrees with its slow twin", lambda: _twin(tile)),
        ],
    )


def _pure(model: DeviceModel) -> str | None:
    whole = model.weight_sigma_lsb if model.whole_weight else lambda r: model.programming(r).sigma
    apart = np.concatenate([whole(_GRID[:7]), whole(_GRID[7:])])
    together = whole(_GRID)
    return None if np.array_equal(apart, together) else "a level's sigma depends on the others"


def _time(model: DeviceModel) -> str | None:
    law = model.drift(_GRID)
    if law is None:
        return None
    for name, value in (("mean", law.nu_mean), ("sigma", law.nu_sigma)):
        if value.shape != _GRID.shape or not np.isfinite(value).all() or value.min() < 0.0:
            return f"the {name} of the drift exponent is not a finite positive number per level"
    if not law.t0_s > 0.0:
        return f"t0 is {law.t0_s} s"
    for age_s in (0.0, 3600.0, 2.6e6):
        noise = model.flicker(_GRID, age_s)
        if noise is not None and (not np.isfinite(noise).all() or noise.min() < 0.0):
            return f"1/f noise at {age_s:g} s is not a finite positive number"
    return None


class _Written:
    """Cells of some levels as the slow twin writes them."""

    def __init__(self, tables: CellTables) -> None:
        self.tables = tables

    @cached_property
    def cells(self) -> dict[int, NDArray[np.float64]]:
        """Conductances over g_max by level."""
        keys = Writing(0, _MATRIX).cell_keys
        levels = np.unique(np.linspace(0, self.tables.target.size - 1, _MOST_LEVELS).astype(int))
        shape = (_ROWS, _COLUMNS)
        return {
            int(level): conductance_of_lines(np.full(shape, level), self.tables, keys)[0]
            for level in levels
        }

    def moments(self) -> str | None:
        """Return which level has other moments than promised."""
        tables = self.tables
        if np.isfinite(tables.tolerance):
            return None  # writes that are verified have other moments than a single write
        if tables.log_time > 0.0 or tables.flicker.any() or tables.stuck_low + tables.stuck_high:
            return None  # other errors are on top
        for level, g in self.cells.items():
            target = tables.target[level] + tables.bias[level]
            sigma = float(tables.sigma[level])
            if target < 4.0 * sigma:
                continue  # rectified at zero
            if abs(g.mean() - target) > _SIGMAS * sigma / np.sqrt(g.size) + 1e-12:
                return f"level {level} has mean {g.mean():g}, promised {target:g}"
            if abs(g.std() - sigma) > _SIGMAS * sigma / np.sqrt(2.0 * g.size) + 1e-12:
                return f"level {level} has sigma {g.std():g}, promised {sigma:g}"
        return None

    def positive(self) -> str | None:
        """Return the least conductance if it is below 0."""
        least = min(float(g.min()) for g in self.cells.values())
        return f"found {least:g} g_max" if least < 0.0 else None


def _program(tile: Tile, chip_seed: int, copy: int, count: int) -> ProgrammedMatrix | None:
    weight = np.random.default_rng(0).standard_normal((_ROWS, 8)).astype(np.float32)
    writing = Writing(chip_seed, _MATRIX, copy, count)
    found = program_matrix(weight, tile, writing, calibrate_range(weight, _MATRIX, tile))
    return found if isinstance(found, ProgrammedMatrix) else None


def _frozen(tile: Tile) -> str | None:
    tables = cell_tables(tile, 1, 0.0)
    drawn = (tables.sigma, tables.weight_sigma, tables.flicker)
    if not any(table.any() for table in drawn) and tables.stuck_low + tables.stuck_high == 0:
        return None  # a mean error is the same everywhere
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    values = [m.cells.values for m in (_program(tile, *p) for p in places) if m is not None]
    for place, other in zip(places[1:], values[1:], strict=True):
        if np.array_equal(values[0], other):
            return f"chip, copy, count {place} has the same cells as {places[0]}"
    return None


def _twin(tile: Tile) -> str | None:
    programmed = _program(tile, 3, 5, 7)
    if programmed is None:
        return None
    slow = column_values(programmed.encoded, tile, programmed.writing)
    same = np.array_equal(
        programmed.cells.values, np.rint(slow.astype(np.float64) / programmed.cells.grid)
    )
    return None if same else "conductances differ"
