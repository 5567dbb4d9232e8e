"""How much of a device's memory weights and written matrices are kept in."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

__all__ = ["DeviceMemory", "Kept"]

_ON_HOST = 2 << 30  # bytes of each kind
_ASKED_EVERY_S = 0.25


@dataclass(frozen=True)
class DeviceMemory:
    """Shares of a device: of all a quarter for weights, of what is free two thirds for cells.

    Folded forms have half of what is free. Where all come to their share, three sixteenths of the
    device are left for activations. Cells have more than forms, as a weight takes up to eight
    bytes of them and two of its form. What is not kept is read, or written, again when it is next
    used, with the same bits.

    Attributes:
        device: whose.
        limit_bytes: what the program may take in all, None for what the device has.
    """

    device: torch.device
    limit_bytes: int | None = None
    _asked: list[float] = field(default_factory=list, repr=False, compare=False)

    @cached_property
    def _total_bytes(self) -> int:
        return self.limit_bytes or torch.cuda.mem_get_info(self.device)[1]

    def has_room_for_weights(self, held: int, comes: int = 0) -> bool:
        """Whether further weights are kept as they are stored.

        What other processes took of the device counts only where little is left.

        Args:
            held: bytes of those that are kept.
            comes: bytes that come.
        """
        if self.device.type == "cpu":
            return True
        total = self._total_bytes
        return held + comes <= total // 4 and self.free_bytes() - comes > total // 8

    def copy_bytes(self, held: int = 0) -> int:
        """Return the bytes of cells that are kept, `held` of them already."""
        return _ON_HOST if self.device.type == "cpu" else 2 * (self.free_bytes() + held) // 3

    def form_bytes(self, held: int) -> int:
        """Return the bytes of folded forms that are kept, `held` of them already."""
        return _ON_HOST if self.device.type == "cpu" else (self.free_bytes() + held) // 2

    def free_bytes(self) -> int:
        """Return what tensors do not take yet."""
        taken = torch.cuda.memory_allocated(self.device)
        if self.limit_bytes is not None:
            return max(0, self.limit_bytes - taken)
        reserved = torch.cuda.memory_reserved(self.device)
        now = time.monotonic()
        if not self._asked or now - self._asked[0] > _ASKED_EVERY_S:
            # The driver is slow to ask: in between its answer moves by what this process took.
            self._asked[:] = now, torch.cuda.mem_get_info(self.device)[0] + reserved
        return int(self._asked[1]) - taken


@dataclass
class Kept:
    """What was made when it was asked for, up to some bytes.

    Passes over a model ask for everything in one order, again and again. So where there is no room
    for all, what was asked for longest ago stays, as it is the next to be asked for, and what was
    asked for last goes. Each pass then finds what fits, where with the last ones kept it would
    find nothing.

    Attributes:
        most_bytes: that are kept at most, from those that are held; the one in use is kept
            however large it is.
    """

    most_bytes: Callable[[int], int]
    _things: OrderedDict[Hashable, tuple[int, Any]] = field(default_factory=OrderedDict, repr=False)
    _held: int = 0

    def clear(self) -> None:
        """Let go of everything."""
        self._things.clear()
        self._held = 0

    def drop(self, key: Hashable) -> None:
        """Let go of what stands under a key."""
        self._held -= self._things.pop(key)[0]

    def known(self, key: Hashable) -> Any:
        """Return what stands under a key, None if it is not there."""
        if key not in self._things:
            return None
        self._things.move_to_end(key)
        return self._things[key][1]

    def get(self, key: Hashable, comes: int, make: Callable[[], Any]) -> Any:
        """Return what stands under a key, made if it is not there.

        Args:
            key: its name.
            comes: bytes that it takes.
            make: makes it.
        """
        known = self.known(key)
        if known is not None:
            return known
        # Room is made first, so that what goes and what comes are never there together.
        most = self.most_bytes(self._held)
        while self._things and self._held + comes > most:
            self._held -= self._things.popitem()[1][0]
        found = make()
        self._things[key] = comes, found
        self._held += comes
        return found
