"""Full-size figures of a chip as if it were made at another process node: a stated rule.

Every component is scaled as digital logic at nominal supply (Stillmaker and Baas, Integration
58, 2017): dynamic energy on the chip by e(target) / e(node), area by the ratio of areas. Times,
leakage and energy off the chip stay, and so does accuracy. Memory cells, converters and wires
scale less, and clocks would rise: a comparison of architectures, no design at that node.
"""

from __future__ import annotations

from dataclasses import replace

from cimsim.cost.technology import nominal_vdd_v, scale_logic
from cimsim.results import number_of
from cimsim.stages.contenders import Contender
from cimsim.stages.dies import count_dies
from cimsim.units import FJ_PER_J, FJ_PER_NJ

__all__ = ["NODE_RULE", "at_node"]

NODE_RULE = (
    "figures at {node:g} nm scale dynamic energy and area on the chip as digital logic at nominal "
    "supply (Stillmaker and Baas 2017); times, leakage and off-chip energy stay"
)


def at_node(chip: Contender, node_nm: float) -> tuple[Contender, tuple[str, ...]]:
    """Return a chip with its full-size figures at another node, and notes on the scaling.

    Args:
        chip: at its own node.
        node_nm: the other node.
    """
    row = chip.scale
    own = number_of(row, "node_nm")
    factors = scale_logic(own, node_nm, nominal_vdd_v(node_nm))
    total = chip.energy_per_token_nj
    leakage, off_chip = row["energy_leakage_nj"], row["energy_off_chip_per_token_nj"]
    kept = sum(float(part) for part in (leakage, off_chip) if isinstance(part, int | float))
    energy = kept + (total - kept) * factors.energy
    area = chip.area_mm2 * factors.area
    scaled = {
        **row,
        "node_nm": node_nm,
        "area_mm2": area,
        "dies": count_dies(area, int(number_of(row, "chips"))),
        "energy_per_token_nj": energy,
        # The same tokens in the same time.
        "power_w": chip.tokens_per_s * energy * FJ_PER_NJ / FJ_PER_J,
    }
    return replace(chip, scale=scaled), factors.notes
