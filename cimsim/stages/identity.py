"""What a run is of: everything that decides its numbers; and what a correction is made for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cimsim.config import ChipConfig
from cimsim.config.load import config_hash
from cimsim.model import Checkpoint
from cimsim.plugins import Plugin
from cimsim.results.code_version import code_version
from cimsim.stages.models import Texts

__all__ = ["RunIdentity", "chip_identity"]


@dataclass(frozen=True)
class RunIdentity:
    """Everything that decides the numbers of a run.

    Attributes:
        chips: their configurations.
        models: the checkpoints.
        texts: what is scored and what calibrates.
        correction: a saved correction to apply, or None.
        plugins: that are loaded.
    """

    chips: tuple[ChipConfig, ...]
    models: tuple[Checkpoint, ...]
    texts: Texts
    correction: Path | None
    plugins: tuple[Plugin, ...]

    def run_hash(self) -> str:
        """Return its sha256 in hex."""
        given: dict[str, object] = {
            "chips": [config_hash(c) for c in self.chips],
            "models": [c.hash for c in self.models],
            **self._texts(),
            "correction": _digest(self.correction),
        }
        if self.plugins:
            given["plugins"] = [plugin.sha256 for plugin in self.plugins]
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()

    def described(self) -> dict[str, object]:
        """Return it in full, with the code: what a run must agree on to be gone on with."""
        return {
            "code": code_version(),
            "chips": {c.name: c.model_dump(mode="json") for c in self.chips},
            "models": {c.name: c.hash for c in self.models},
            **self._texts(),
            "bos": self.texts.bos,
            "text_name": self.texts.scored_name,
            "correction": _digest(self.correction),
            "plugins": [plugin.sha256 for plugin in self.plugins],
        }

    def _texts(self) -> dict[str, object]:
        return {
            "text": hashlib.sha256(self.texts.scored.encode()).hexdigest(),
            "calibration": hashlib.sha256(self.texts.calibration.encode()).hexdigest(),
        }


def _digest(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


# What a run does with a chip; nothing that is written into its cells depends on it.
_USE = (
    ("workload", ("tokens", "in_flight")),
    (
        "run",
        (
            "chip_seeds",
            "perplexity_limit",
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
    (
        "calibration",
        (
            "method",
            "min_gain_nats",
            "accept_mode",
            "accept_tokens",
            "life_tokens",
            "interval_hours",
            "shards",
        ),
    ),
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
