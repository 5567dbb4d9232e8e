"""What a correction is made for: one chip, whatever a run does with it."""

from __future__ import annotations

import hashlib

from cimsim.config import ChipConfig
from cimsim.config.load import config_hash

__all__ = ["chip_identity"]

# What a run does with a chip; nothing that is written into its cells depends on it.
_USE = (
    ("workload", ("tokens", "in_flight")),
    (
        "run",
        (
            "chip_seeds",
            "tile_mode",
            "flight_tokens",
            "decode_batch",
            "engine",
            "coupling",
            "age_step",
            "backend",
            "device",
            "precision",
        ),
    ),
    ("calibration", ("method", "min_gain_nats")),
)


def chip_identity(config: ChipConfig, chip_seed: int) -> str:
    """Return the opaque identity of one chip: what a correction is made for.

    How much text is scored or timed, and how, does not make another chip.
    """
    plain = ChipConfig(name=config.name)
    sections = {
        name: getattr(config, name).model_copy(
            update={key: getattr(getattr(plain, name), key) for key in keys}
        )
        for name, keys in _USE
    }
    bare = config.model_copy(update=sections)
    return hashlib.sha256(f"{config_hash(bare)}:{chip_seed}".encode()).hexdigest()
