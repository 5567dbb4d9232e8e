"""A configuration becomes a chip: geometry, tilings of matrices, placements."""

from cimsim.chip.copies import LogicalCopies
from cimsim.chip.mesh import ChipMesh, build_mesh
from cimsim.chip.networks import register_topology
from cimsim.chip.placement import (
    Placement,
    Seat,
    copy_of_token,
    crossbar_numbers,
    pe_numbers,
    tier_numbers,
    token_turn,
)
from cimsim.chip.system import assign_chips, build_system, seats_in_order
from cimsim.chip.tiling import ColumnLayout, Tiling, column_layout, tile_matrix
from cimsim.chip.topology import Topology
from cimsim.chip.units import Unit, UnitKey, analog_units

__all__ = [
    "ChipMesh",
    "ColumnLayout",
    "LogicalCopies",
    "Placement",
    "Seat",
    "Tiling",
    "Topology",
    "Unit",
    "UnitKey",
    "analog_units",
    "assign_chips",
    "build_mesh",
    "build_system",
    "column_layout",
    "copy_of_token",
    "crossbar_numbers",
    "pe_numbers",
    "register_topology",
    "seats_in_order",
    "tier_numbers",
    "tile_matrix",
    "token_turn",
]
