"""Bit lines that a clamp holds: charging, bias, references and rows that are not driven.

A column that is sensed once costs

    E = C V_read^2 + V_dd t (I_bias + r I_column + n_off I_off)

with C = rows x (drain + wire) of the line, t the time of a read, r reference columns a column and
n_off the rows that are not driven. The current of the cells is charged with the crossbar, from the
supply and with its mirrored copies: E = t V_dd G V_read (1 + mirrors).

A bias that is not given is what an amplifier of transconductance g needs to settle the line to half
a code of b bits, t = (b + 1) ln 2 C / g, at g / I of moderate inversion:

    I_bias = (b + 1) ln 2 C / (t (g / I))
"""

from __future__ import annotations

from math import log

from cimsim.config import ChipConfig
from cimsim.config.tile import ClampSense
from cimsim.cost.cells import cell_pitch_um
from cimsim.cost.constant import Constant
from cimsim.cost.density import charged_density
from cimsim.cost.price import Number, Price
from cimsim.errors import CimsimError, CimsimInternalError

__all__ = ["CONSTANTS", "clamp_factor", "price_bit_line", "sense_fj"]

_WIRE = Constant("bit_line.wire_cap", 0.2, "fF/um", "wire capacitance of on-chip metal", None, "D")
_DRAIN = Constant(
    "bit_line.drain_cap",
    0.35,
    "fF/cell",
    "drain of a cell, as its gate: half a NAND2 of ZigZag-IMC (0.7 fF)",
    28.0,
    "D",
    "scales with the node",
)
_GM_ID = Constant(
    "bit_line.gm_over_id",
    15.0,
    "1/V",
    "Silveira, Flandre and Jespers, IEEE JSSC 1996, doi:10.1109/4.535416: moderate inversion",
    None,
    "C",
)
CONSTANTS = (_WIRE, _DRAIN, _GM_ID)


def clamp_factor(config: ChipConfig) -> float:
    """Return what the current of the cells costs over t G V_read^2, 1 without a clamp."""
    sense = config.tile.crossbar.sense
    if not isinstance(sense, ClampSense):
        return 1.0
    return (1.0 + sense.mirrors) * config.technology.vdd_v / config.tile.crossbar.v_read_v


def price_bit_line(config: ChipConfig) -> Price | None:
    """Return the cost of sensing one column once; None where no clamp holds it.

    Raises:
        CimsimError: if lines would be held above the supply.
    """
    if not isinstance(config.tile.crossbar.sense, ClampSense):
        return None
    if config.tile.crossbar.v_read_v > config.technology.vdd_v:
        raise CimsimError(
            "a clamp holds no bit line above the supply",
            key="tile.crossbar.v_read_v",
            value=config.tile.crossbar.v_read_v,
            allowed=f"at most technology.vdd_v, {config.technology.vdd_v:g} V",
        )
    found = charged_density(config)
    return Price(
        "bit_line",
        float(sense_fj(config, found.input_bit_density, found.mean_level_fraction)),
        "C V^2 + V_dd t (bias + references + undriven rows)",
        constants=CONSTANTS,
    )


def sense_fj(config: ChipConfig, bit_density: Number, level: Number) -> Number:
    """Return the energy of sensing one column once.

    Args:
        config: a chip whose bit lines are clamped.
        bit_density: mean input over the greatest, a number or one per unit.
        level: mean conductance over the greatest, a number or one per unit.
    """
    tile, sense = config.tile, config.tile.crossbar.sense
    if not isinstance(sense, ClampSense):
        message = "bit lines without a clamp cost nothing"
        raise CimsimInternalError(message)
    vdd, v_read = config.technology.vdd_v, tile.crossbar.v_read_v
    cap_ff, t_ns = _line_ff(config), _read_ns(config)
    bias_ua = sense.bias_ua
    if bias_ua is None:
        # fF / (ns / V) = uA.
        bias_ua = (tile.adc.bits + 1) * log(2.0) * cap_ff / (t_ns * _GM_ID.value)
    undriven = tile.crossbar.rows - tile.crossbar.rows_at_once
    # uA x V x ns = fJ; nA are a thousandth.
    still = bias_ua + undriven * sense.off_na * 1e-3
    column_ua = tile.crossbar.rows_at_once * tile.device.g_max_us * v_read * bit_density * level
    return cap_ff * v_read**2 + vdd * t_ns * (still + sense.reference_columns * column_ua)


def _line_ff(config: ChipConfig) -> float:
    """Return the capacitance of one bit line."""
    tile, node = config.tile, config.technology.node_nm
    pitch = cell_pitch_um(tile, node, config.cost.cell_area_um2)
    return tile.crossbar.rows * (_DRAIN.value * node / 28.0 + _WIRE.value * pitch)


def _read_ns(config: ChipConfig) -> float:
    """Return the time of one read: settling, and the pulses of a PWM DAC."""
    dac = config.tile.dac
    pulses = (2**dac.bits - 1) * dac.unit_ns if dac.kind == "pwm" else 0.0
    return config.tile.crossbar.read_ns + pulses
