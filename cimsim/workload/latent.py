"""Multi-head latent attention (DeepSeek-AI, arXiv 2405.04434), in its absorbed form.

Keys and values of all heads are products of one latent vector c per token, k_h = c Wk_h and
v_h = c Wv_h, and one rotated key that all heads share. Instead of expanding them, each head takes
its query to the latent space, q_h Wk_h^T, attends there, and takes the mixed latent back:

    (q', c', r) = x (Wqa, Wkva)            projections down, side by side
    c = norm(c'); q = norm(q') Wqb         `Compress`, projection up
    p_h = q_h[:nope] Wk_h^T                `SplitQueries`, `ProjectByHead`
    attend (p_h, rot(q_h[nope:])) over (c, rot(r)), values c     `RotateLatent`
    y = concat_h(mix_h Wv_h) Wo            `ProjectByHead`, projection

so that a cache holds c and r alone: `kv_lora_rank` + `qk_rope_head_dim` numbers a position. The
products are those of the expanded form in another order, and as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cimsim.workload.heads import Heads
from cimsim.workload.operations import Operation, Project

__all__ = ["Compress", "ProjectByHead", "RotateLatent", "SplitQueries"]


@dataclass(frozen=True)
class ProjectByHead(Project):
    """Products of each head's part of the inputs with a matrix of its own, side by side."""

    @property
    def n_in(self) -> int:
        """Inputs of all heads together."""
        return sum(m.n_in for m in self.weights)


@dataclass(frozen=True)
class Compress(Operation):
    """RMSNorms of latent vectors: of keys and values, and of queries if they have one.

    Attributes:
        heads: their latent width.
        query_rank: width of the latent of queries; 0 if queries are projected at once.
        eps: added to the mean square.
    """

    heads: Heads
    query_rank: int
    eps: float

    @property
    def elements(self) -> Mapping[str, int]:
        """One a feature."""
        return {"norm": self.query_rank + self.heads.latent_dim}

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """The gains."""
        own = {"kv_a_norm": (self.heads.latent_dim,)}
        return {"q_a_norm": (self.query_rank,)} | own if self.query_rank else own


@dataclass(frozen=True)
class SplitQueries(Operation):
    """Queries are cut into heads, and heads into what is rotated and what meets the latents.

    Attributes:
        heads: their number, and how many entries are rotated.
        plain_dim: entries of a head that are not rotated; they come first.
        interleaved: whether entries 2 i and 2 i + 1 are rotated together, and not those of the
            halves.
    """

    heads: Heads
    plain_dim: int
    interleaved: bool


@dataclass(frozen=True)
class RotateLatent(Operation):
    """Rotated parts of queries and of the shared key join the latents.

    Attributes:
        heads: their number and widths.
        interleaved: as in `SplitQueries`.
    """

    heads: Heads
    interleaved: bool

    @property
    def elements(self) -> Mapping[str, int]:
        """One a rotated feature of queries and of the key."""
        return {"rope": (self.heads.n_heads + 1) * self.heads.rotated}
