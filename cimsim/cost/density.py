"""How busy cells are taken to be: the chip file's word, what a run measured, or a default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.counts import Density

__all__ = [
    "CONSTANTS",
    "charged_density",
    "conversions_asked",
    "default_density",
    "density_words",
    "mean_density",
    "recovers",
    "searches",
    "skips_reads",
]

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
_RECOVERED = Constant(
    "adc.recovered_share",
    0.045,
    "1",
    "RAELLA by its authors (CiMLoop, macro raella_isca_2023): 0.42 of 8 conversions a column, 3 of "
    "them speculative",
    None,
    "A",
    "(0.42 x 8 - 3) / 8",
)
CONSTANTS = (_BITS, _SINGLE, _SLICED_PAIR, _WHOLE_PAIR, _RECOVERED)


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
    if not recovers(config):
        return Density(_BITS.value, level, origin="default")
    return Density(
        _BITS.value, level, "default",
        recovered_share=_RECOVERED.value, recovery_bit_density=_BITS.value,
    )  # fmt: skip


def mean_density(found: Iterable[Density]) -> Density | None:
    """Return the mean of what was measured, None of nothing."""
    every = list(found)
    if not every:
        return None

    def mean(name: str) -> float:
        return float(np.mean([getattr(d, name) for d in every]))

    return Density(
        mean("input_bit_density"),
        mean("mean_level_fraction"),
        skipped_share=mean("skipped_share"),
        recovered_share=mean("recovered_share"),
        recovery_bit_density=mean("recovery_bit_density"),
        search_cycles=mean("search_cycles"),
    )


def charged_density(config: ChipConfig, found: Density | None = None) -> Density:
    """Return the density that energy is charged at.

    Args:
        config: the chip; `cost.input_bit_density`, `mean_level_fraction`, `skipped_share` and
            `recovered_share` win.
        found: what a run measured; None takes the documented default.
    """
    base = default_density(config) if found is None else found
    bits, level = config.cost.input_bit_density, config.cost.mean_level_fraction
    skipped, recovered = config.cost.skipped_share, config.cost.recovered_share
    stated = {
        "input_bit_density": bits, "recovery_bit_density": bits, "mean_level_fraction": level,
        "skipped_share": skipped, "recovered_share": recovered,
        "search_cycles": config.cost.search_cycles,
    }  # fmt: skip
    if not recovers(config):
        del stated["recovery_bit_density"], stated["recovered_share"]
    if not skips_reads(config):
        del stated["skipped_share"]
    if not searches(config):
        del stated["search_cycles"]
    known = {name: value for name, value in stated.items() if value is not None}
    if not known:
        return base
    origin = "chip file" if len(known) == len(stated) else f"chip file and {base.origin}"
    return replace(base, **known, origin=origin)


def conversions_asked(config: ChipConfig, density: Density) -> float:
    """Return conversions that are made over one of every column, read and cycle.

    1 - skipped + recovered x recovery cycles / cycles.
    """
    if not recovers(config):
        return 1.0 - density.skipped_share
    layout = column_layout(config.tile)
    again = density.recovered_share * layout.recoveries / layout.reads
    return 1.0 - density.skipped_share + again


def searches(config: ChipConfig) -> bool:
    """Return whether the comparisons of a conversion depend on its code."""
    return config.tile.adc.search == "lsb_first" and config.tile.crossbar.kind == "analog"


def recovers(config: ChipConfig) -> bool:
    """Return whether columns out of range are converted again in recovery cycles."""
    return config.tile.dac.recovery_bits is not None and config.tile.crossbar.kind == "analog"


def skips_reads(config: ChipConfig) -> bool:
    """Return whether reads that no input asks for are left out."""
    return config.tile.input.skip_zeros and config.tile.crossbar.kind == "analog"


def density_words(density: Density | None) -> str:
    """Return a density in words; None is a chip whose energy does not depend on the data."""
    if density is None:
        return "the same energy whatever the data"
    bits, level = density.input_bit_density, density.mean_level_fraction
    shares = ""
    if density.skipped_share:
        shares += f", {density.skipped_share:.1%} of reads skipped"
    if density.recovered_share:
        shares += f", {density.recovered_share:.1%} of columns converted again"
    if density.search_cycles:
        shares += f", {density.search_cycles:.3g} comparisons a conversion"
    return f"input bit density {bits:.3g}, mean level {level:.3g}{shares} ({density.origin})"
