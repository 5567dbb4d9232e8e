"""Records of a study: named by what was asked, kept in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cimsim.config.load import config_hash, find_chip, load_chip
from romer.study.cache import Cache, name_of
from romer.study.cells import Kind
from romer.study.measure import Record

__all__ = ["Records"]


class Records:
    """Names and contents of the records of one plan.

    Args:
        folder: where they are kept.
        chip: that the plan is about.
        hashes: of the models by name.
        scored: what text is scored, by name.

    Attributes:
        cache: what is finished.
    """

    def __init__(
        self, folder: Path, chip: str, hashes: Mapping[str, str], scored: Mapping[str, int]
    ) -> None:
        self.cache = Cache(folder)
        self._hashes = hashes
        chip_hash = config_hash(load_chip(find_chip(chip)))
        self._context = {"chip": chip_hash, **scored, "version": version("cimsim")}

    def name(self, what: str, kind: Kind, **key: Any) -> str:
        """Return the name of a record."""
        model = self._hashes[kind.model]
        return name_of({**self._context, "what": what, "model": model, **asdict(kind), **key})

    def record(self, name: str) -> Record:
        """Return a record that is there."""
        found = self.cache.get(name)
        if found is None:
            raise KeyError(name)
        return found
