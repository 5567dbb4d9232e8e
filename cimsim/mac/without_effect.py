"""Knobs of a tile that its other choices make pointless, or with which they are at odds."""

from __future__ import annotations

from collections.abc import Iterator

from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig, Tile
from cimsim.config.device import Device, MeasuredDevice, Temperature
from cimsim.mac.cells import cell_tables
from cimsim.mac.converters import check_converters
from cimsim.mac.curves import curve_of
from cimsim.mac.devices import device_model
from cimsim.mac.moments import mean_writes

__all__ = ["knobs_without_effect", "unpaid_writes", "unused_range"]

_REFERENCE_C = 25.0
_MOST_UNPAID = 1.1
# What only an analog crossbar has: sections of the tile and their knobs.
_ANALOG = {
    "input": ("skip_zeros",),
    "dac": ("recovery_bits",),
    "pe": ("subtract", "accumulate_cycles", "sample_hold", "merge", "supply_droop"),
    "crossbar": ("wire_ohm", "v_read_v", "stuck_columns_high", "stuck_columns_low"),
    "adc": (
        "kind", "bits", "enob", "rate_gsps", "per_pe", "range", "offset_lsb", "gain_sigma",
        "inl_lsb", "curve", "noise_lsb", "reference_gain", "drift", "search",
    ),
    "device": (
        "kind", "on_off_ratio", "age_s", "drift_compensation", "stuck_low", "stuck_high",
        "shift_level",
        "read_noise", "drift", "temperature", "verify",
    ),
}  # fmt: skip


def knobs_without_effect(config: ChipConfig) -> tuple[str, ...]:
    """Return a warning for every knob of the tile that is set and has no effect on this chip.

    A knob is set if its value is not the default.

    Raises:
        CimsimError: if no device model or transfer curve of the chosen name is registered.
    """
    tile, found = config.tile, []
    warm = config.technology.temperature_c != _REFERENCE_C
    digital = tile.crossbar.kind == "digital"
    if warm and (digital or not _warms(tile)):
        found.append(
            "technology.temperature_c has no effect on cells: neither they nor converters of this "
            "chip change with it; leakage does"
        )
    if digital:
        found += [f"tile.{path} has no effect: digital crossbars are exact" for path in _set(tile)]
        if config.run.tile_mode != "detailed":
            found.append("run.tile_mode has no effect: digital crossbars make no conversions")
        return tuple(found)
    device_model(tile.device, tile.weight.bits)
    curve_of(tile.adc)
    check_converters(tile, config.technology.temperature_c)
    for path, ignored, reason in _rules(tile, config.technology.temperature_c):
        section: object = tile
        default: object = _default_of(tile)
        for key in path.split("."):
            section, default = getattr(section, key), getattr(default, key)
        if ignored and section != default:
            found.append(f"tile.{path} has no effect: {reason}")
    return tuple(found)


def _warms(tile: Tile) -> bool:
    """Whether temperature changes a number of cells or converters."""
    drift = tile.adc.drift
    converters = drift.offset_lsb_per_c or drift.gain_per_c or drift.reference_per_c
    threshold = getattr(tile.device, "threshold_mv_per_c", 0.0)
    measured = isinstance(tile.device, MeasuredDevice)
    return bool(converters or threshold or measured) or tile.device.temperature != Temperature()


def unpaid_writes(config: ChipConfig) -> tuple[str, ...]:
    """Return a warning if verified writes take more pulses than the chip file charges."""
    tile = config.tile
    if tile.device.verify.tolerance is None or tile.crossbar.kind == "digital":
        return ()
    tables = cell_tables(tile, 0, tile.device.age_s, config.technology.temperature_c)
    writes, charged = float(mean_writes(tables).mean()), tile.device.programming.pulses
    if writes <= _MOST_UNPAID * charged:
        return ()
    return (
        f"tile.device.programming.pulses charges {charged:g} writes per cell, verifying takes "
        f"{writes:.2f} on average over the levels",
    )


def unused_range(config: ChipConfig) -> tuple[str, ...]:
    """Return a warning for cells and row drivers of which weights and inputs use a part only.

    A bit of more than one may be spare, as in a pair of 8-bit cells that holds an 8-bit weight.
    """
    tile, found = config.tile, []
    if tile.crossbar.kind == "digital":
        return ()
    weight, inputs = tile.weight.bits, tile.input.bits
    stored = max(1, weight - 1) if tile.weight.encoding == "differential" else weight
    if tile.device.cell_bits > stored + (weight > 1):
        found.append(
            f"tile.device.cell_bits: weights use the lowest {1 << stored} of "
            f"{1 << tile.device.cell_bits} levels; {stored} would use the whole range of a cell"
        )
    fed = max(1, inputs - 1) if tile.input.signed == "two_phase" else inputs
    if tile.dac.bits > fed + (inputs > 1):
        found.append(
            f"tile.dac.bits: inputs use the lowest {1 << fed} of {1 << tile.dac.bits} codes; "
            f"{fed} would use the whole range of a driver"
        )
    return tuple(found)


def _set(tile: Tile) -> Iterator[str]:
    """Yield the knobs of analog crossbars that a tile sets."""
    default = Tile()
    for section, names in _ANALOG.items():
        for name in names:
            if getattr(getattr(tile, section), name) != getattr(getattr(default, section), name):
                yield f"{section}.{name}"


def _default_of(tile: Tile) -> Tile:
    """Return a tile of defaults; of its device what every kind has."""
    known = {name: getattr(Tile().device, name) for name in Device.model_fields}
    return Tile().model_copy(update={"device": tile.device.model_copy(update=known)})


def _rules(tile: Tile, temperature_c: float) -> Iterator[tuple[str, bool, str]]:
    """Yield each knob that may be pointless, whether it is here, and why."""
    device, noise, drift = tile.device, tile.device.read_noise, tile.device.drift
    yield (
        "pe.subtract",
        tile.weight.encoding != "differential",
        "only the pairs of tile.weight.encoding differential are subtracted",
    )
    yield (
        "crossbar.rows_active",
        (tile.crossbar.rows_active or 0) > tile.crossbar.rows,
        "a crossbar has no more rows than tile.crossbar.rows, which are all driven",
    )
    layout = column_layout(tile)
    yield "pe.merge", layout.merged and layout.slices == 1, "one cell or pair holds a whole weight"
    yield "dac.unit_ns", tile.dac.kind != "pwm", "only drivers of tile.dac.kind pwm send pulses"
    unverified = device.verify.tolerance is None
    yield "device.verify.attempts", unverified, "tile.device.verify.tolerance is not given"
    yield from _drift_rules(tile, temperature_c)
    quiet = "tile.device.read_noise.sigma is 0"
    for name in ("read_noise.sigma_unit", "read_noise.scaling", "temperature.read_noise_per_c"):
        yield f"device.{name}", noise.sigma == 0.0, quiet
    yield (
        "device.read_noise.knee",
        noise.sigma == 0.0 or noise.scaling != "saturating",
        "tile.device.read_noise has no sigma that saturates",
    )
    keeps = drift.nu == 0.0 and drift.nu_sigma == 0.0
    yield "device.drift.t0_s", keeps, "tile.device.drift.nu is 0"
    cool, exact = temperature_c == _REFERENCE_C, getattr(device, "kind", "ideal") == "ideal"
    for name in ("sigma_per_c", "read_noise_per_c", "conductance_per_c", "shift_level_per_c"):
        if name != "read_noise_per_c" or noise.sigma > 0.0:
            same = "technology.temperature_c is that to which it refers, 25 C"
            yield f"device.temperature.{name}", cool, same
    if not cool:
        yield "device.temperature.sigma_per_c", exact, "ideal cells have no error that could grow"


def _drift_rules(tile: Tile, temperature_c: float) -> Iterator[tuple[str, bool, str]]:
    """Yield the knobs of what drifts, as `_rules` does."""
    drift = tile.adc.drift
    same = temperature_c == drift.calibrated_c
    here = "technology.temperature_c is tile.adc.drift.calibrated_c"
    for name in ("offset_lsb_per_c", "gain_per_c", "reference_per_c"):
        yield f"adc.drift.{name}", same, here
    fresh = drift.calibrated_for_s == 0.0
    for name in ("offset_lsb_per_decade", "gain_per_decade"):
        yield f"adc.drift.{name}", fresh, "tile.adc.drift.calibrated_for_s is 0"
    still = drift.offset_lsb_per_decade == 0.0 and drift.gain_per_decade == 0.0
    kept = "no tile.adc.drift per decade is given"
    yield "adc.drift.calibrated_for_s", still, kept
    yield "adc.drift.t0_s", still or fresh, kept if still else "calibrated_for_s is 0"
    flash = getattr(tile.device, "threshold_mv_per_c", None)
    if flash is not None:
        for name, idle in (("threshold_mv_per_c", same), ("slope_factor", same or not flash)):
            yield f"device.{name}", idle, here if same else "threshold_mv_per_c is 0"
    steady = "nothing of this chip changes with temperature"
    yield "adc.drift.calibrated_c", not _warms(tile), steady
