"""Routers and links: energy per bit and router, and per bit and millimetre of wire."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.cost.technology import scale_logic

__all__ = ["CONSTANTS", "WIRE", "price_link", "price_router"]

_PUMA = "PUMA simulator: 0.047 mm2 with 4 ports, 0.116 mm2 with 8, 32-bit flits"
_PUMA_LEAK = "PUMA simulator: 0.41 mW with 4 ports, 1.04 mW with 8"
_AREA_BASE = Constant("noc.router_area_4_ports", 0.047, "mm2", _PUMA, 32.0, "A")
_AREA_PORT = Constant("noc.router_area_port", (0.116 - 0.047) / 4, "mm2/port", _PUMA, 32.0, "A")
_LEAK_BASE = Constant("noc.router_leakage_4_ports", 410.0, "uW", _PUMA_LEAK, 32.0, "A")
_LEAK_PORT = Constant("noc.router_leakage_port", 157.5, "uW/port", _PUMA_LEAK, 32.0, "A")
_ROUTER = Constant(
    "noc.router_energy",
    0.081,
    "pJ/bit",
    "ISAAC router, 42 mW (C), 0.081 pJ/bit in CiMLoop",
    32.0,
    "A",
    "default of noc.router_pj_per_bit",
)
WIRE = Constant(
    "noc.link_energy",
    0.12,
    "pJ/bit/mm",
    "Keckler and Dally, IEEE Micro 2011, Table 1",
    40.0,
    "B",
    "default of noc.link_pj_per_bit_mm; 0.0404 with low swing (Park, DATE 2013)",
)

CONSTANTS = (_ROUTER, WIRE, _AREA_BASE, _AREA_PORT, _LEAK_BASE, _LEAK_PORT)


def price_router(config: ChipConfig, ports: float) -> Price:
    """Return the cost of one router; an action is one bit through it.

    Args:
        config: the chip.
        ports: of a router, the mean over routers (`Topology.router_ports`): area and leakage
            are linear in them.
    """
    scaling = scale_logic(32.0, config.technology.node_nm, config.technology.vdd_v)
    more = ports - 4
    width = config.noc.flit_bits / 32
    return Price(
        "noc_router",
        config.noc.router_pj_per_bit * 1e3,
        f"noc.router_pj_per_bit ({config.noc.source})",
        area_um2=(_AREA_BASE.value + more * _AREA_PORT.value) * 1e6 * width * scaling.area,
        leakage_uw=(_LEAK_BASE.value + more * _LEAK_PORT.value) * width,
        idle=config.cost.idle.noc,
        constants=(_ROUTER, _AREA_BASE, _AREA_PORT, _LEAK_BASE, _LEAK_PORT),
        notes=(*scaling.notes, *_leakage_note(config)),
    )


def _leakage_note(config: ChipConfig) -> tuple[str, ...]:
    node = config.technology.node_nm
    return () if node == 32 else (f"extrapolated: router leakage of 32 nm used at {node:g} nm",)


def price_link(config: ChipConfig, pitch_mm: float) -> Price:
    """Return the cost of one link; an action is one bit over one link.

    Args:
        config: the chip.
        pitch_mm: length of a link.
    """
    return Price(
        "noc_link",
        config.noc.link_pj_per_bit_mm * 1e3 * pitch_mm,
        f"noc.link_pj_per_bit_mm x {pitch_mm:.3g} mm ({config.noc.source})",
        idle=config.cost.idle.noc,
        constants=(WIRE,),
    )
