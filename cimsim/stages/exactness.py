"""Whether chips of one configuration differ: what is drawn on them."""

from __future__ import annotations

from cimsim.config import Tile
from cimsim.mac.adc import fresh_variance

__all__ = ["is_exact"]


def is_exact(tile: Tile) -> bool:
    """Whether nothing on this chip is drawn: every chip seed gives the same numbers."""
    if tile.crossbar.kind == "digital":
        return True
    device, adc = tile.device, tile.adc
    frozen = device.kind != "ideal" or device.stuck_low + device.stuck_high > 0
    frozen = frozen or device.drift.nu_sigma > 0
    fresh = device.read_noise.sigma > 0 or fresh_variance(tile) > 0
    drift, crossbar = adc.drift, tile.crossbar
    apart = drift.offset_lsb_per_c + drift.gain_per_c
    apart += drift.offset_lsb_per_decade + drift.gain_per_decade
    converter = adc.offset_lsb + adc.gain_sigma + adc.inl_lsb + apart > 0
    columns = crossbar.stuck_columns_high + crossbar.stuck_columns_low > 0
    return not (frozen or fresh or converter or columns)
