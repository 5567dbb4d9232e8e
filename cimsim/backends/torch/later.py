"""Numbers on a device that the host looks at together: one wait for it instead of one a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Later"]

Then = Callable[[Sequence[float]], None]


@dataclass
class Later:
    """Questions to a device, answered in the order in which they were asked.

    Attributes:
        waits: whether they wait for the end of `together`; else each is answered at once.
    """

    waits: bool = False
    _inside: bool = field(default=False, repr=False)
    _asked: list[tuple[Sequence[Tensor], Then]] = field(default_factory=list, repr=False)

    def ask(self, numbers: Sequence[Tensor], then: Then) -> None:
        """Call `then` with numbers [], which float64 holds, when they are looked at."""
        self._asked.append((numbers, then))
        if not self._inside:
            self._answer()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Answer what is asked inside at its end: the first that refuses says what was wrong."""
        if self._inside or not self.waits:
            yield
            return
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            self._answer()

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        flat = [number.reshape(()) for numbers, _ in asked for number in numbers]
        found = iter(_values(flat))
        for numbers, then in asked:
            then([next(found) for _ in numbers])


def _values(numbers: Sequence[Tensor]) -> list[float]:
    """Return numbers of a device, in their order: those of a type go together."""
    places: dict[torch.dtype, list[int]] = {}
    for i, number in enumerate(numbers):
        places.setdefault(number.dtype, []).append(i)
    if not places:
        return []
    parts = [torch.stack([numbers[i] for i in some]).double() for some in places.values()]
    found = [0.0] * len(numbers)
    order = [i for some in places.values() for i in some]
    for i, value in zip(order, torch.cat(parts).tolist(), strict=True):
        found[i] = value
    return found
