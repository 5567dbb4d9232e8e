"""Tokens as the detailed product reads them, kept for the matrices that read the same ones.

Gate and up, q, k and v, and copies whose outputs are averaged read the same tokens one after the
other: these are quantised once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from torch import Tensor

from cimsim.backends.torch.later import Later

__all__ = ["Fed", "Feeds"]


@dataclass(frozen=True)
class Fed:
    """Quantised tokens as the kernel reads them.

    Attributes:
        bytes: int8 [phases, n, groups x padded rows]; bf16 [1, n, n_in] of the folded product.
        scale: float32 [n].
        sums: float64 [n], sums of the fed inputs.
        units: [n, n_out], what unit columns add in levels; None without.
    """

    bytes: Tensor
    scale: Tensor
    sums: Tensor
    units: Tensor | None = None

    def rows(self, which: Tensor) -> Fed:
        """Return some tokens, int64 [n], once or several times each."""
        return Fed(self.bytes[:, which], self.scale[which], self.sums[which])


@dataclass
class Feeds:
    """The tokens that were fed last.

    Attributes:
        later: looks at whether inputs are finite.
    """

    later: Later = field(default_factory=Later)
    _last: tuple[Hashable, Tensor, Fed] | None = field(default=None, repr=False)
    _summed: tuple[Fed, Tensor] | None = field(default=None, repr=False)

    def of(self, x: Tensor, form: Hashable, feed: Callable[[], Fed]) -> Fed:
        """Return tokens fed in a form: those of the last call, if they are the same.

        Args:
            x: the tokens; they are kept, so that no others come to lie in their place.
            form: all that `feed` depends on beside them.
            feed: quantises them.
        """
        if x.is_inference():  # nothing tells whether such a tensor was changed since
            return feed()
        key = (x.data_ptr(), x._version, x.shape, x.stride(), x.dtype, form)
        if self._last is None or self._last[0] != key:
            self.clear()
            self._last = key, x, feed()
        return self._last[2]

    def sums_of(self, fed: Fed, add: Callable[[], Tensor]) -> Tensor:
        """Return the sums of the DAC codes of tokens: those of the last call, if they are the same.

        Args:
            fed: the tokens.
            add: sums their codes.
        """
        if self._summed is None or self._summed[0] is not fed:
            self._summed = fed, add()
        return self._summed[1]

    def clear(self) -> None:
        """Let them go."""
        self._last = self._summed = None
