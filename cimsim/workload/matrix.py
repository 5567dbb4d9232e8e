"""What a matrix product is named by: its matrix, and the tokens whose rows it takes.

Matrices are in ``x @ W`` orientation: W is [n_in, n_out]; n_in sits on crossbar rows. A token is
named by its sequence and position, so that noise can be keyed by what is computed and not by
when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_EXPERT", "PART_OF_ROLE", "AnalogPart", "Matrix", "MatrixId", "TokenKeys"]

NO_EXPERT = -1

AnalogPart = Literal["attention", "router", "experts", "shared", "head"]

# Which part of the model a matrix role belongs to: the choice of analog parts is made
# by part, never by single matrix.
PART_OF_ROLE: dict[str, AnalogPart] = {
    "q": "attention",
    "k": "attention",
    "v": "attention",
    "o": "attention",
    "router": "router",
    "shared_router": "router",
    "gate": "experts",
    "up": "experts",
    "down": "experts",
    "shared_gate": "shared",
    "shared_up": "shared",
    "shared_down": "shared",
    "dense_gate": "shared",
    "dense_up": "shared",
    "dense_down": "shared",
    "head": "head",
    # A product of a workload described by its shape: any network's weights.
    "product": "shared",
    # Latent attention (`cimsim.workload.latent`): down, up, and two by head.
    "q_a": "attention",
    "kv_a": "attention",
    "q_b": "attention",
    "k_b": "attention",
    "v_b": "attention",
}
# Which projections take their inputs at once: the stages of an attention block, by name.
_STAGE_OF_ROLE = dict.fromkeys(("q", "k", "v", "q_a", "kv_a"), "qkv")


class MatrixId(NamedTuple):
    """Name of one weight matrix of a program.

    Attributes:
        layer: decoder layer, 0-based; the head has layer = number of layers.
        role: a key of `PART_OF_ROLE`.
        expert: routed expert, or head of a projection by heads, or -1.
    """

    layer: int
    role: str
    expert: int = NO_EXPERT

    @property
    def part(self) -> AnalogPart:
        """The part of the model that this matrix belongs to."""
        return PART_OF_ROLE[self.role]

    @property
    def routed(self) -> int:
        """The routed expert that it belongs to, or -1."""
        return self.expert if self.part == "experts" else NO_EXPERT

    @property
    def stage(self) -> str:
        """The attention projections that take their inputs together with it: qkv, o, ..."""
        return _STAGE_OF_ROLE.get(self.role, self.role)

    def __str__(self) -> str:
        expert = "" if self.expert == NO_EXPERT else f".{self.expert}"
        return f"{self.layer}.{self.role}{expert}"


class TokenKeys(NamedTuple):
    """Global addresses of the rows of a batch of token activations.

    Attributes:
        sequence: int64 [n], which sequence (window) a row belongs to.
        position: int64 [n], position in that sequence.
    """

    sequence: NDArray[np.int64]
    position: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> TokenKeys:
        """Return the keys of some rows, [len(rows)]."""
        return TokenKeys(self.sequence[rows], self.position[rows])

    @classmethod
    def of_windows(cls, sequences: NDArray[np.int64], context: int) -> TokenKeys:
        """Return the keys of all tokens of windows, in order.

        Args:
            sequences: int64 [windows], their global numbers.
            context: tokens per window.
        """
        position = np.tile(np.arange(context, dtype=np.int64), len(sequences))
        return cls(np.repeat(sequences.astype(np.int64), context), position)


@dataclass(frozen=True)
class Matrix:
    """Shape of one weight matrix: W is [n_in, n_out].

    Attributes:
        id: its name.
        n_in, n_out: rows and columns.
        vectors: that a token multiplies with it: 1, but for a convolution its output pixels.
    """

    id: MatrixId
    n_in: int
    n_out: int
    vectors: int = 1

    @property
    def size(self) -> int:
        """Number of weights, which is also the MACs of one vector."""
        return self.n_in * self.n_out

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one token."""
        return self.vectors * self.size
