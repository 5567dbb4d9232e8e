"""Digital units: MACs of attention and digital matrices, elementwise work, KV memory."""

from __future__ import annotations

from math import ceil

from cimsim.config import ChipConfig
from cimsim.cost.buffers import SRAM_CONSTANTS, coefficient_sram, sram
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.cost.technology import energy_factor, scale_logic
from cimsim.elementary import log, power
from cimsim.units import period_ps

__all__ = [
    "COMPONENT_OF_ELEMENT",
    "CONSTANTS",
    "SCALER_CONSTANTS",
    "digital_ps",
    "element_fj",
    "price_digital",
    "scaler_um2",
]

_MAC = Constant(
    "digital.mac8_energy",
    0.2,
    "pJ/MAC",
    "8 x 8 bit MAC of AccelForge designs",
    28.0,
    "A",
    "operands from local registers included; 16-bit operands cost four times as much; between "
    "28 and 7 nm on log axes, outside scaled as logic",
)
_MAC7 = Constant("digital.mac_energy_7nm", 0.084, "pJ/MAC", "lane of TPUv4i (AccelForge)", 7.0, "A")
_ADD = Constant("digital.add32_energy", 0.21, "pJ/op", "Aladdin 32-bit adder", 40.0, "A")
_COMPARE = Constant("digital.compare32_energy", 0.029, "pJ/op", "Aladdin comparator", 40.0, "A")
_SIGMOID = Constant(
    "digital.sigmoid_energy",
    0.26 / 1.2,
    "pJ/op",
    "ISAAC sigmoid unit, 0.26 mW at 1.2 GHz (Table I)",
    32.0,
    "C",
    "a table of exp or sigmoid values",
)
_MULT_AREA = Constant("digital.mult32_area", 6350.0, "um2", "Aladdin 32-bit multiplier", 40.0, "A")
_ADD_AREA = Constant("digital.add32_area", 278.0, "um2", "Aladdin 32-bit adder", 40.0, "A")
_COMPARE_AREA = Constant("digital.compare32_area", 71.0, "um2", "Aladdin comparator", 40.0, "A")
_SIGMOID_AREA = Constant(
    "digital.sigmoid_area", 300.0, "um2", "ISAAC sigmoid unit, 0.0006 mm2 for two", 32.0, "C"
)

SCALER_CONSTANTS = (_MULT_AREA, _COMPARE_AREA)
CONSTANTS = (
    *(_MAC, _MAC7, _ADD, _COMPARE, _SIGMOID),
    *(_MULT_AREA, _ADD_AREA, _SIGMOID_AREA, _COMPARE_AREA),
)

# Operations of one element: 16-bit multiply-adds, 32-bit adds, table look-ups, compares.
# norm squares, accumulates and scales; rope rotates a pair (two products per element);
# softmax subtracts the maximum, looks up exp, accumulates and scales; the router's scores
# pass a softmax and top-k comparisons; SiLU is a look-up and two products (gate x up). An input's
# code is its product with the reciprocal of a scale (`cimsim.cost.input_scale`).
_OPS: dict[str, tuple[float, float, float, float]] = {
    "norm": (2.0, 0.0, 0.0, 0.0),
    "rope": (2.0, 0.0, 0.0, 0.0),
    "softmax": (1.0, 2.0, 1.0, 1.0),
    "router": (1.0, 2.0, 1.0, 8.0),
    "activation": (2.0, 0.0, 1.0, 0.0),
    "combine": (1.0, 0.0, 0.0, 0.0),
    "embedding": (0.0, 1.0, 0.0, 0.0),
    "correction": (1.0, 0.0, 0.0, 0.0),
    "input_maximum": (0.0, 0.0, 0.0, 1.0),
    "input_reciprocal": (0.0, 0.0, 1.0, 0.0),
    "input_scaling": (1.0, 0.0, 0.0, 0.0),
}
COMPONENT_OF_ELEMENT: dict[str, str] = {
    "norm": "norm",
    "rope": "norm",
    "softmax": "softmax",
    "router": "router_digital",
    "activation": "activation",
    "combine": "combine",
    "embedding": "digital_linear",
    "correction": "correction",
    "input_maximum": "input_scale",
    "input_reciprocal": "input_scale",
    "input_scaling": "input_scale",
}
COMPONENT_OF_MAC = {
    "attention": "digital_attention",
    "linear": "digital_linear",
    "correction": "correction",
}
_OPERAND_BITS = 16
# A digital unit and its memories, which have area and leakage.
PARTS = ("digital_unit", "kv_sram", "weight_sram")


def element_fj(config: ChipConfig, use: str) -> float:
    """Return the energy of one element of an elementwise operation."""
    mac, add, look, compare = _OPS[use]
    tech = config.technology
    at32 = scale_logic(32.0, tech.node_nm, tech.vdd_v).energy
    at40 = scale_logic(40.0, tech.node_nm, tech.vdd_v).energy
    logic_fj = 1e3 * (
        mac * mac8_pj(config) * 4
        + (add * _ADD.value + compare * _COMPARE.value) * at40
        + look * _SIGMOID.value * at32
    )
    if use == "input_scaling" and config.tile.input.scale == "per_channel":
        return logic_fj + _OPERAND_BITS * coefficient_sram(config).read_fj
    return logic_fj


def scaler_um2(config: ChipConfig) -> float:
    """Return the area of what scales one input a cycle: a 16-bit multiplier, and a comparator.

    Only scales of tokens take a comparator (`cimsim.cost.input_scale`).
    """
    tech = config.technology
    lane_um2 = _MULT_AREA.value * (_OPERAND_BITS / 32) ** 2
    lane_um2 += _comparator_um2(config)
    return lane_um2 * scale_logic(40.0, tech.node_nm, tech.vdd_v).area


def _comparator_um2(config: ChipConfig) -> float:
    """Return the area at 40 nm of a comparator that finds maxima of inputs, 0 without them."""
    finds = config.cost.input_scale == "charged" and config.tile.input.scale == "per_token"
    return _COMPARE_AREA.value if finds else 0.0


def mac_fj(config: ChipConfig, use: str) -> float:
    """Return the energy of one MAC: 8-bit for digital matrices, 16-bit otherwise.

    A product of operands of w and x bits costs in proportion to w x (array multiplier).
    """
    if use == "linear":
        product = config.tile.weight.bits * config.tile.input.bits / 64
    elif use == "attention":
        product = _OPERAND_BITS * config.memory.kv_bits / 64
    else:
        product = _OPERAND_BITS**2 / 64
    return mac8_pj(config) * 1e3 * product


def mac8_pj(config: ChipConfig) -> float:
    """Return the energy of an 8 x 8 bit MAC at this node and supply.

    Between the two published nodes it is interpolated on log axes; a supply off nominal,
    and nodes outside, scale as logic.
    """
    node, vdd = config.technology.node_nm, config.technology.vdd_v
    inside = min(max(node, 7.0), 28.0)
    share = log(inside / 28.0) / log(7.0 / 28.0)
    base = _MAC.value * power(_MAC7.value / _MAC.value, share)
    return float(base * energy_factor(inside, node, source_vdd_v=None, target_vdd_v=vdd))


def price_digital(config: ChipConfig) -> Price:
    """Return area and leakage of one digital unit without its memories."""
    tech, unit = config.technology, config.digital
    at40 = scale_logic(40.0, tech.node_nm, tech.vdd_v)
    at32 = scale_logic(32.0, tech.node_nm, tech.vdd_v)
    # An array multiplier grows with the square of its operands.
    mac_um2 = _MULT_AREA.value * (_OPERAND_BITS / 32) ** 2 + _ADD_AREA.value
    area = unit.macs_per_cycle * mac_um2 * at40.area
    lane_um2 = mac_um2 + _ADD_AREA.value + _comparator_um2(config)
    area += unit.lanes * (lane_um2 * at40.area + _SIGMOID_AREA.value * at32.area)
    return Price(
        "digital_unit",
        None,
        "16-bit multiply-add lanes",
        area_um2=area,
        idle=config.cost.idle.digital,
        constants=CONSTANTS,
        notes=at40.notes,
    )


def price_unit_memory(config: ChipConfig, use: str) -> Price:
    """Return the cost of one digital unit's memory: kv, or weights of digital matrices."""
    size = config.digital.kv_sram_kb if use == "kv" else config.digital.weight_sram_kb
    memory = sram(max(size, 1e-3), config.technology.node_nm, config.technology.vdd_v)
    return Price(
        f"{use}_sram",
        memory.read_fj,
        "SRAM fit",
        area_um2=memory.area_um2 if size else 0.0,
        leakage_uw=memory.leakage_uw if size else 0.0,
        idle=config.cost.idle.digital,
        constants=SRAM_CONSTANTS,
        notes=memory.notes,
    )


def digital_ps(config: ChipConfig, macs: int, elements: int) -> int:
    """Return the time of one digital unit for `macs` MACs and then `elements` elements."""
    cycles = ceil(macs / config.digital.macs_per_cycle) + ceil(elements / config.digital.lanes)
    return cycles * period_ps(config.digital.clock_ghz)
