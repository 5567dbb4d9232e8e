"""Writing weights: time, energy, bytes and endurance.

t = max over crossbars of ceil(rows / rows at once) x pulses x (pulse + verify) + erase;
every crossbar has its own write drivers and a row is written whole. E = cells x (pulses x
(E_pulse + E_verify) + E_erase). A verifying read draws t G V^2 of a half-way cell for its
time and converts its column once. Lifetime = endurance / writes per second of the most
written cell.
"""

from __future__ import annotations

from math import ceil

from cimsim.chip import Unit
from cimsim.config import ChipConfig
from cimsim.cost.adc import price_adc
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.units import BITS_PER_BYTE, FJ_PER_PJ, ps_from_ns

__all__ = [
    "CONSTANTS",
    "lifetime_s",
    "price_program",
    "programming_bytes",
    "programming_ps",
    "verify_pj",
]

_NVSIM = "NVSim cell, NVMExplorer"
CONSTANTS = (
    Constant("program.reram_pulse_energy", 0.6, "pJ", f"{_NVSIM}: 2.0 V, 10 ns", None, "A"),
    Constant("program.reram_analog_pulses", 8.52, "pulses", "NeuRRAM (CiMLoop)", 130.0, "A"),
    Constant(
        "program.reram_analog_pulse_energy",
        61.0,
        "pJ",
        "NeuRRAM: (1.75 V)^2 x 20 uS x 1 us",
        130.0,
        "D",
    ),
    Constant("program.reram_endurance", 1e6, "writes", "1e6 to 1e9 binary", None, "C"),
    Constant("program.pcm_pulse_energy", 20.0, "pJ", "RESET 19, SET 13-27 pJ", None, "B"),
    Constant("program.pcm_endurance", 1e8, "writes", "Lee et al., ISCA 2009", None, "C"),
    Constant("program.eflash_byte_time", 14000.0, "ns", "SST49LF040 datasheet", None, "A"),
    Constant("program.eflash_erase_time", 18e6, "ns", "SST49LF040 datasheet", None, "A"),
    Constant("program.eflash_energy", 50.0, "pJ/cell", "1 uA x 5 V x 10 us", None, "C"),
    Constant("program.eflash_endurance", 1e5, "writes", "SST49LF040 datasheet", None, "A"),
    Constant("program.sram_energy", 0.095 / 8, "pJ/bit", "ZigZag w_cost", 28.0, "A"),
)


def programming_ps(config: ChipConfig, unit: Unit) -> int:
    """Return the time to write one copy of a unit."""
    spec = config.tile.device.programming
    rows = max(max(t.row_blocks) for t in unit.tilings)
    pulses = ceil(rows / spec.rows_parallel) * spec.pulses
    return ps_from_ns(pulses * (spec.pulse_ns + spec.verify_ns) + spec.erase_ns)


def programming_bytes(config: ChipConfig, unit: Unit) -> int:
    """Return the stored weight bytes of one copy of a unit."""
    weights = sum(t.matrix.size for t in unit.tilings)
    return ceil(weights * config.tile.weight.bits / BITS_PER_BYTE)


def price_program(config: ChipConfig) -> Price:
    """Return the cost of writing; an action is one cell written to its target."""
    spec, notes = config.tile.device.programming, ["write drivers: area not modelled"]
    if spec.erase_ns and spec.erase_energy_pj is None:
        notes.append("erasing: time modelled, energy not modelled")
    pulses = spec.pulses * (spec.pulse_energy_pj + verify_pj(config))
    return Price(
        component="program",
        energy_fj=(pulses + (spec.erase_energy_pj or 0.0)) * FJ_PER_PJ,
        model=f"tile.device.programming ({spec.source}); verify {verify_pj(config):.3g} pJ",
        notes=tuple(notes),
    )


def verify_pj(config: ChipConfig) -> float:
    """Return the energy of one verifying read of one cell."""
    tile, spec = config.tile, config.tile.device.programming
    if spec.verify_energy_pj is not None:
        return spec.verify_energy_pj
    if not spec.verify_ns:
        return 0.0
    # uS x V^2 x ns = fJ.
    cell_fj = 0.5 * tile.device.g_max_us * tile.crossbar.v_read_v**2 * spec.verify_ns
    convert_fj = 0.0
    if tile.crossbar.kind == "analog":
        # The model's price, so that an override of the ADC moves the ADC's own row alone.
        tech = config.technology
        convert_fj = price_adc(tile, tech.node_nm, tech.vdd_v).energy_fj or 0.0
    return (cell_fj + convert_fj) / FJ_PER_PJ


def lifetime_s(config: ChipConfig, writes: int, seconds: float) -> float | None:
    """Return how long the most written cell lives at the observed rate.

    Args:
        config: the chip.
        writes: writes of the most written crossbar.
        seconds: simulated time in which they happened.

    Returns:
        Seconds, or None if the endurance is unlimited or nothing was written.
    """
    endurance = config.tile.device.programming.endurance
    if endurance is None or not writes:
        return None
    return endurance * seconds / writes
