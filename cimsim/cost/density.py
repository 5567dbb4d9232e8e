"""How busy cells are taken to be: the chip file's word, what a run measured, or a default."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.counts import Density

__all__ = ["CONSTANTS", "charged_density", "default_density", "density_words"]

_DEFAULT = "documented default: fed bits and sliced digits are about uniform"
_BITS = Constant("crossbar.default_bit_density", 0.5, "1", _DEFAULT, None, "D")
_SINGLE = Constant(
    "crossbar.default_level_single",
    0.5,
    "1",
    _DEFAULT,
    None,
    "D",
    "offset, isaac, center and digital encodings: one cell holds the digit",
)
_SLICED_PAIR = Constant(
    "crossbar.default_level_sliced_pair",
    0.25,
    "1",
    _DEFAULT,
    None,
    "D",
    "one cell of a pair holds the digit, the other is at the lowest level",
)
_WHOLE_PAIR = Constant(
    "crossbar.default_level_whole_pair",
    0.1,
    "1",
    "documented default: mean |w| of a Gaussian is a fifth of its 4-sigma maximum, halved "
    "over the pair",
    None,
    "D",
)
CONSTANTS = (_BITS, _SINGLE, _SLICED_PAIR, _WHOLE_PAIR)


def default_density(config: ChipConfig) -> Density:
    """Return the density used where nothing states or measured one (marked as default)."""
    weight, device = config.tile.weight, config.tile.device
    pair = weight.encoding == "differential" and config.tile.crossbar.kind == "analog"
    if not pair or weight.bits == 1:  # of the cells that hold +-1, half hold a one
        level = _SINGLE.value
    elif device.cell_bits >= weight.bits - 1:
        level = _WHOLE_PAIR.value
    else:
        level = _SLICED_PAIR.value
    if weight.bits == 1 and config.tile.crossbar.kind == "analog":
        level = level / ((1 << device.cell_bits) - 1)  # one level, however many a cell has
    if device.technology != "sram" and device.on_off_ratio is not None:
        level = level + (1.0 - level) / device.on_off_ratio
    return Density(_BITS.value, level, origin="default")


def charged_density(config: ChipConfig, found: Density | None = None) -> Density:
    """Return the density that energy is charged at.

    Args:
        config: the chip; `cost.input_bit_density` and `cost.mean_level_fraction` win.
        found: what a run measured; None takes the documented default.
    """
    base = default_density(config) if found is None else found
    bits, level = config.cost.input_bit_density, config.cost.mean_level_fraction
    if bits is None and level is None:
        return base
    both = bits is not None and level is not None
    return Density(
        base.input_bit_density if bits is None else bits,
        base.mean_level_fraction if level is None else level,
        origin="chip file" if both else f"chip file and {base.origin}",
    )


def density_words(density: Density | None) -> str:
    """Return a density in words; None is a chip whose energy does not depend on the data."""
    if density is None:
        return "the same energy whatever the data"
    bits, level = density.input_bit_density, density.mean_level_fraction
    return f"input bit density {bits:.3g}, mean level {level:.3g} ({density.origin})"
