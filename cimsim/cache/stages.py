"""Stages whose values are found again: by what they read, and by what they were given.

The key of a value is the hash of the stage, the code (`code_version`, and plug-ins), everything
that it was given whole (model, texts, routing, chip seed: by their digests) and of every field
of its chip that it read, with its value. Which fields a stage reads is not declared: views
(`cimsim.cache.watched`) note it while it computes. A stage is a pure function, so chips that
agree on those fields take the same way through it, read the same fields, and give the same value.
A chip may take another way (a device that drifts, say) and read others; the store therefore
knows several sets of fields of a stage, and a chip is looked up under each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cimsim.cache.store import Store, cache_folder
from cimsim.cache.watched import Reads, value_at, watched
from cimsim.plugins import loaded_plugins
from cimsim.results.code_version import code_version
from cimsim.results.packed import digest_of

__all__ = ["NO_CACHE", "StageCache", "Stages", "Watched", "open_cache"]

T = TypeVar("T")


class Stages(Protocol):
    """Computes stages of a run, or finds what they gave before."""

    def watch(self, **given: Any) -> Watched:
        """Return stages that may read what is given: sections of a chip, or dataclasses."""


class Watched:
    """Stages of one chip that share what they have read.

    What an earlier stage read counts as read by the later ones, which may use what it left.

    Args:
        store: where values are; None computes everything.
        given: what stages read, by name.
        classes: that occur in values.

    Attributes:
        views: what stages must read in place of `given`, by name.
    """

    def __init__(
        self, store: Store | None, given: Mapping[str, Any], classes: Iterable[type]
    ) -> None:
        self._store, self._given, self._classes = store, given, tuple(classes)
        self._reads: Reads = {}
        self._known: Reads = {}  # digests of fields that other chips are known to have read
        self.views: Mapping[str, Any] = given
        if store is not None:
            self.views = {k: watched(v, k, self._reads) for k, v in given.items()}

    def recall(self, stage: str, whole: Mapping[str, object], compute: Callable[[], T]) -> T:
        """Return the value of a stage: the kept one, or a computed one that is kept.

        Args:
            stage: its name.
            whole: what it depends on beside `views`, by name: digests, numbers, records.
            compute: computes it from `views` and `whole` alone.
        """
        store = self._store
        if store is None:
            return compute()
        base = digest_of({"code": code_version(), "plug-ins": loaded_plugins(), **whole})
        keys = [
            _key(base, {name: self._digest(name) for name in names})
            for names in store.read_sets(stage)
        ]
        found = self._find(store, stage, keys)
        if found is None:
            with store.claimed(stage, keys):
                found = self._find(store, stage, keys)  # whoever held a claim has computed it
                if found is None:
                    found = (compute(),)
                    self._keep(store, stage, base, found[0])
        return found[0]

    def _find(self, store: Store, stage: str, keys: Sequence[str]) -> tuple[Any] | None:
        for key in keys:
            found = store.get(stage, key, self._classes)
            if found is not None:
                return found
        return None

    def _keep(self, store: Store, stage: str, base: str, value: object) -> None:
        reads = dict(sorted(self._reads.items()))
        store.put(stage, _key(base, reads), value)
        store.add_reads(stage, _name_of(reads), list(reads))

    def _digest(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = value_at(self._given, name)
        return self._known[name]


class StageCache:
    """Stages whose values are kept in a folder.

    Args:
        store: the folder.
        classes: that occur in values.
    """

    def __init__(self, store: Store, classes: Iterable[type]) -> None:
        self._store, self._classes = store, tuple(classes)

    def watch(self, **given: Any) -> Watched:
        """Return stages that may read what is given."""
        return Watched(self._store, given, self._classes)


class _NoCache:
    """Computes every stage."""

    def watch(self, **given: Any) -> Watched:
        """Return stages of what is given."""
        return Watched(None, given, ())


NO_CACHE: Stages = _NoCache()


def open_cache(classes: Iterable[type], folder: Path | None = None) -> StageCache:
    """Return the cache of a folder, or of the user.

    Args:
        classes: that occur in values.
        folder: its place; None takes `cache_folder`.
    """
    return StageCache(Store(folder or cache_folder()), classes)


def _key(base: str, reads: Reads) -> str:
    return hashlib.sha256(json.dumps([base, sorted(reads.items())]).encode()).hexdigest()


def _name_of(reads: Reads) -> str:
    return hashlib.sha256(json.dumps(sorted(reads)).encode()).hexdigest()[:16]
