"""Sources of a tile's error, and the same tile without one of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cimsim.config import Device, Tile
from cimsim.config.bounds import LSB
from cimsim.config.converter import STRAIGHT, ConverterDrift, MeasuredAdc
from cimsim.config.device import Drift, EflashDevice, IdealDevice, ReadNoise, Verify
from cimsim.config.measured import ConverterRow
from cimsim.mac.adc import code_bounds, fresh_variance, full_range_levels
from cimsim.mac.cells import first_read_s
from cimsim.mac.matrix import ProgrammedMatrix

__all__ = ["REMOVED", "with_adc", "without_rounding"]

_FINE_BITS = 16


def _device(tile: Tile, device: Device) -> Tile:
    return tile.model_copy(update={"device": device})


def with_adc(tile: Tile, **fields: object) -> Tile:
    """Return a tile whose converter differs in some knobs.

    A measured converter of other bits has the same transfer and noise over its range.
    """
    bits = fields.get("bits")
    if isinstance(tile.adc, MeasuredAdc) and isinstance(bits, int) and "rows" not in fields:
        fields["rows"] = _rows_at(tile.adc, bits, ((1 << bits) - 1) / ((1 << tile.adc.bits) - 1))
    adc = type(tile.adc).model_validate(tile.adc.model_dump() | fields)
    return tile.model_copy(update={"adc": adc})


def _rows_at(adc: MeasuredAdc, bits: int, noise: float) -> tuple[ConverterRow, ...]:
    """Return the rows of a converter with its transfer at other bits, noise times a factor."""
    top, codes = (1 << bits) - 1.0, ((1 << bits) - 1) / ((1 << adc.bits) - 1)
    return tuple((u, min(code * codes, top), sigma * noise) for u, code, sigma in adc.rows)


def _without_cell_errors(tile: Tile) -> Tile:
    """Return a tile of cells that err alike, or not at all: mean errors and warmth stay."""
    device = tile.device
    ageless: dict[str, object] = {
        "age_s": 0.0, "drift": Drift(), "drift_compensation": "none", "verify": Verify(),
    }  # fmt: skip
    if isinstance(device, EflashDevice) and (device.mean_lsb or device.threshold_mv_per_c):
        return _device(tile, device.model_copy(update={**ageless, "sigma_lsb": 0.0, "gain": 1.0}))
    kept = {n: getattr(device, n) for n in Device.model_fields}
    return _device(tile, IdealDevice.model_validate(kept | ageless))


def _without_cell_shift(tile: Tile) -> Tile:
    warmth = tile.device.temperature.model_copy(update={"shift_level_per_c": 0.0})
    still: dict[str, object] = {"shift_level": 0.0, "temperature": warmth}
    still |= {"mean_lsb": 0.0} if hasattr(tile.device, "mean_lsb") else {}
    still |= {"verify": Verify()} if tile.device.kind == "ideal" else {}
    return _device(tile, tile.device.model_copy(update=still))


def _without_warm_cells(tile: Tile) -> Tile:
    """Return a tile whose currents do not change with temperature, converters' range kept."""
    warmth = tile.device.temperature.model_copy(update={"conductance_per_c": 0.0})
    still: dict[str, object] = {"temperature": warmth}
    still |= {"threshold_mv_per_c": 0.0} if hasattr(tile.device, "threshold_mv_per_c") else {}
    compensated = tile.device.drift_compensation == "global"
    if compensated and first_read_s(tile) is None:
        still |= {"drift_compensation": "none"}
    return _device(tile, tile.device.model_copy(update=still))


def _without_stuck(tile: Tile) -> Tile:
    return _device(tile, tile.device.model_copy(update={"stuck_low": 0.0, "stuck_high": 0.0}))


def _without_read_noise(tile: Tile) -> Tile:
    return _device(tile, tile.device.model_copy(update={"read_noise": ReadNoise()}))


def _without_wires(tile: Tile) -> Tile:
    return tile.model_copy(update={"crossbar": tile.crossbar.model_copy(update={"wire_ohm": 0.0})})


def _without_stuck_columns(tile: Tile) -> Tile:
    none = {"stuck_columns_high": 0.0, "stuck_columns_low": 0.0}
    return tile.model_copy(update={"crossbar": tile.crossbar.model_copy(update=none)})


def _without_droop(tile: Tile) -> Tile:
    return tile.model_copy(update={"pe": tile.pe.model_copy(update={"supply_droop": 0.0})})


def _without_reference(tile: Tile) -> Tile:
    drift = tile.adc.drift.model_copy(update={"reference_per_c": 0.0})
    return with_adc(tile, reference_gain=1.0, drift=drift.model_dump())


def _without_converter_drift(tile: Tile) -> Tile:
    kept = {n: getattr(tile.adc.drift, n) for n in ("calibrated_c", "reference_per_c")}
    return with_adc(tile, drift=ConverterDrift.model_validate(kept).model_dump())


def _without_mismatch(tile: Tile) -> Tile:
    if tile.pe.merge.kind == "none":
        return tile
    merge = tile.pe.merge.model_copy(update={"sigma": 0.0})
    return tile.model_copy(update={"pe": tile.pe.model_copy(update={"merge": merge})})


def _without_offset(tile: Tile) -> Tile:
    return with_adc(tile, offset_lsb=0.0)


def _without_gain(tile: Tile) -> Tile:
    return with_adc(tile, gain_sigma=0.0)


def _without_converter_errors(tile: Tile) -> Tile:
    ideal: dict[str, object] = {"enob": None, "inl_lsb": 0.0, "noise_lsb": 0.0, "curve": STRAIGHT}
    if isinstance(tile.adc, MeasuredAdc):
        top = (1 << tile.adc.bits) - 1
        ideal["rows"] = ((0.0, 0.0, 0.0), (1.0, float(top), 0.0))
    return with_adc(tile, **ideal)


def without_rounding(tile: Tile, programmed: ProgrammedMatrix) -> Tile:
    """Return a tile with a 16-bit converter over the full range and the same other errors."""
    full_levels = full_range_levels(programmed.formats)
    top_code = code_bounds(programmed.formats, _FINE_BITS)[1]
    scale = programmed.step_levels / (full_levels / top_code)
    adc = tile.adc
    fine: dict[str, object] = {"noise_lsb": float(np.sqrt(fresh_variance(tile))) * scale}
    if isinstance(adc, MeasuredAdc):
        fine = {"noise_lsb": 0.0, "rows": _rows_at(adc, _FINE_BITS, scale)}
    return with_adc(
        tile,
        **fine,
        bits=_FINE_BITS,
        enob=None,
        range={"kind": "fixed", "levels": full_levels},
        offset_lsb=tile.adc.offset_lsb * scale,
        drift=_in_steps(tile.adc.drift, scale).model_dump(),
        inl_lsb=tile.adc.inl_lsb * scale,
    )


def _in_steps(drift: ConverterDrift, scale: float) -> ConverterDrift:
    """Return the drift of converters with offsets in other steps, as far as knobs allow."""
    return drift.model_copy(
        update={
            name: min(getattr(drift, name) * scale, LSB.most)
            for name in ("offset_lsb_per_c", "offset_lsb_per_decade")
        }
    )


REMOVED: dict[str, Callable[[Tile], Tile]] = {
    "cells": _without_cell_errors,
    "cell_shift": _without_cell_shift,
    "warm_cells": _without_warm_cells,
    "stuck": _without_stuck,
    "read_noise": _without_read_noise,
    "wires": _without_wires,
    "merge": _without_mismatch,
    "supply_droop": _without_droop,
    "stuck_columns": _without_stuck_columns,
    "reference": _without_reference,
    "converter_drift": _without_converter_drift,
    "converter_offset": _without_offset,
    "converter_gain": _without_gain,
    "converter_errors": _without_converter_errors,
}
"""A source of error, and how a tile is rid of it."""
