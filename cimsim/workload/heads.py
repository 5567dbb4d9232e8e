"""Attention heads: their widths, their rotary positions, and what a position costs.

Latent attention (DeepSeek-AI, arXiv 2405.04434) is stated in its absorbed form: all heads attend
to one latent key, and the values are the first entries of that key, so that a cache holds one
latent vector a position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cimsim.errors import CimsimError

__all__ = ["Heads", "RopeScaling"]


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched for sequences longer than those of the training.

    Attributes:
        kind: ``linear``: all by `factor`; ``llama3``: those that turn less than `slow` times over
            `original` positions by `factor`, those that turn more than `fast` times not, between
            in proportion; ``yarn`` (Peng et al., arXiv 2309.00071): the same, in proportion to
            the index of the frequency.
        factor: by which low frequencies are divided.
        original: positions of the training.
        slow, fast: turns over those positions.
        amplitude: factor on cosines and sines (YaRN's attention factor).
        whole: whether YaRN's bounds are rounded to whole indices.
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    original: int = 0
    slow: float = 1.0
    fast: float = 32.0
    amplitude: float = 1.0
    whole: bool = True


@dataclass(frozen=True)
class Heads:
    """Attention heads and their rotary positions (Su et al., arXiv 2104.09864).

    Attributes:
        n_heads: query heads.
        n_kv_heads: key and value heads.
        head_dim: width of a query and of a key.
        theta: base of the rotary frequencies.
        positions: longest sequence that the model was made for; 0 where shapes alone are known.
        scaling: of the rotary frequencies, or None.
        window: positions that a token attends to, its own included; 0 for all before it.
        rotary_dim: entries of a head that are rotated; 0 for all.
        latent_dim: entries of a key that are also the value (latent attention); 0 if values are
            stored beside the keys.
        score_scale: factor on scores; None for 1 / sqrt(head_dim).
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    theta: float = 10_000.0
    positions: int = 0
    scaling: RopeScaling | None = None
    window: int = 0
    rotary_dim: int = 0
    latent_dim: int = 0
    score_scale: float | None = None

    @property
    def d_attention(self) -> int:
        """Total width of the query heads."""
        return self.n_heads * self.head_dim

    @property
    def d_kv(self) -> int:
        """Total width of the key heads."""
        return self.n_kv_heads * self.head_dim

    @property
    def value_dim(self) -> int:
        """Width of a value."""
        return self.latent_dim or self.head_dim

    @property
    def rotated(self) -> int:
        """Entries of a head that are rotated."""
        return self.rotary_dim or self.head_dim

    @property
    def scale(self) -> float:
        """Factor on scores."""
        return 1.0 / math.sqrt(self.head_dim) if self.score_scale is None else self.score_scale

    @property
    def context(self) -> int:
        """Longest sequence whose tokens attend to all before them, within the positions."""
        return min(self.positions, self.window) if self.window else self.positions

    @property
    def macs_per_position(self) -> int:
        """Multiply-accumulates of one token's scores and mixing with one position."""
        return self.n_heads * (self.head_dim + self.value_dim)

    def position_bytes(self, bits: int) -> int:
        """Return the bytes that a cache holds of one position in a layer."""
        stored = -(-self.d_kv * bits // 8)
        return stored if self.latent_dim else 2 * stored

    def refuse_beyond(self, capacity: int) -> None:
        """Refuse windows of more tokens than heads attend to.

        Raises:
            CimsimError: naming the greatest context.
        """
        if capacity <= self.context:
            return
        window = self.context < self.positions
        raise CimsimError(
            "the context is longer than the model's sliding window, within which all its "
            "tokens attend to each other"
            if window
            else "the context is longer than the model's positions",
            key="workload.context",
            value=capacity,
            allowed=f"at most {self.context}",
        )
