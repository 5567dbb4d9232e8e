"""The digital arithmetic of a decoder in torch, float32, on a CPU or a CUDA device.

`cimsim.model.array_backend.ArrayBackend` in tensors. Sums run in the order that torch's kernels
have, so that the last bits of a row may depend on the rows beside it; products use no shortened
formats (TF32). Routing is decided on the host by the kernel of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cimsim.model import Checkpoint
from cimsim.model.kernels.selection import select, select_in_groups
from cimsim.workload.matrix import MatrixId

__all__ = ["TorchBackend"]

Array = Any  # a tensor here, where the protocol names NumPy's arrays
Index = NDArray[np.int64]

_ROWS_OF_LOGITS = 1024  # at a time in float64


class TorchBackend:
    """Tensors of float32 on one device.

    Args:
        device: where they lie.
    """

    select = staticmethod(select)
    select_in_groups = staticmethod(select_in_groups)

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.batch_tokens = 16384 if self.device.type == "cuda" else 4096
        self._weights: dict[tuple[str, MatrixId], torch.Tensor] = {}
        # Half of the memory is for copies on crossbars and for tokens.
        cuda = self.device.type == "cuda"
        self._spare = torch.cuda.mem_get_info(self.device)[1] // 2 if cuda else 0

    def array(self, values: Array) -> Array:
        """Return values as a contiguous tensor on the device."""
        if isinstance(values, torch.Tensor):
            return values.to(self.device).contiguous()
        values = np.ascontiguousarray(values)
        if not values.flags.writeable:
            values = values.copy()  # a tensor over it would promise that it may be written
        return torch.from_numpy(values).to(self.device)

    def weight(self, checkpoint: Checkpoint, matrix: MatrixId) -> Array:
        """Return the weights of a matrix [n_in, n_out]: a view of what is stored.

        On a device they are kept in the type in which they are stored, as far as memory goes.
        """
        if self.device.type == "cpu":
            return self.array(checkpoint.matrix(matrix))
        kept = self._weights.get((checkpoint.hash, matrix))
        if kept is None:
            kept = self._read(checkpoint, matrix)
            if torch.cuda.mem_get_info(self.device)[0] > self._spare:
                self._weights[checkpoint.hash, matrix] = kept
        return kept.T

    def _read(self, checkpoint: Checkpoint, matrix: MatrixId) -> torch.Tensor:
        """Return stored weights [n_out, n_in], of half the width where that loses nothing."""
        tied = matrix.role == "head" and checkpoint.program.tied_head
        place = MatrixId(-1, "embedding") if tied else matrix
        wide: torch.Tensor = self.array(checkpoint.parameter(*place))
        narrow = wide.bfloat16()
        return narrow if bool((narrow.float() == wide).all()) else wide

    def host(self, x: Array) -> Array:
        """Return a tensor as NumPy's array."""
        return x.cpu().numpy()

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Return zeros."""
        return torch.zeros(shape, dtype=torch.float32, device=self.device)

    def take(self, x: Array, rows: Index) -> Array:
        """Return some rows."""
        return x.index_select(0, self._index(rows))

    def join(self, pieces: Sequence[tuple[Index | None, Array]], n: int) -> Array:
        """Return n rows from pieces; one piece of all rows is not copied."""
        if len(pieces) == 1 and pieces[0][0] is None:
            return pieces[0][1]
        out = torch.empty((n, pieces[0][1].shape[1]), dtype=torch.float32, device=self.device)
        for rows, y in pieces:
            if rows is None:
                out.copy_(y)
            else:
                out.index_copy_(0, self._index(rows), y)
        return out

    def product(self, x: Array, w: Array) -> Array:
        """Return x @ w."""
        return torch.matmul(x, w.float())

    def mean(self, several: Sequence[Array]) -> Array:
        """Return the mean of tensors, summed in float64."""
        total = several[0].double()
        for each in several[1:]:
            total = total + each.double()
        return (total / len(several)).float()

    def is_finite(self, x: Array) -> bool:
        """Whether no entry is infinite or not a number."""
        return bool(torch.isfinite(x).all())

    def columns(self, x: Array, which: Index) -> Array:
        """Return some entries of the last axis, contiguous."""
        return x.index_select(-1, self._index(which))

    def beside(self, parts: Sequence[Array]) -> Array:
        """Return tensors joined along the last axis."""
        return torch.cat(tuple(parts), dim=-1)

    def clip(self, x: Array, bound: float) -> Array:
        """Return entries limited to -bound and bound."""
        return x.clamp(-bound, bound)

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        """Return x / sqrt(mean(x^2) + eps) * gain, the mean in float64."""
        scale = (x.double().square().mean(1, keepdim=True) + eps).rsqrt().float()
        return x * scale * gain

    def rotate(self, x: Array, position: Index, cos: Array, sin: Array) -> Array:
        """Return heads [n, heads, width] with their halves rotated by the angles of positions."""
        at = self._index(position)
        c, s = cos[at][:, None], sin[at][:, None]
        first, second = x.chunk(2, dim=2)
        return torch.cat([first * c - second * s, second * c + first * s], dim=2)

    def attend(
        self, q: Array, slots: Index, position: Index, keys: Array, values: Array, scale: float
    ) -> Array:
        """Return the values mixed by causal softmax attention, [n, heads, value width]."""
        out = q.new_empty((*q.shape[:2], values.shape[3]))
        group = q.shape[1] // keys.shape[1]
        for slot in np.unique(slots):
            rows = np.flatnonzero(slots == slot)
            last = int(position[rows].max()) + 1
            at, reach = self._index(rows), self._index(position[rows])
            k = keys[int(slot), :, :, :last].repeat_interleave(group, 0)
            v = values[int(slot), :, :last].repeat_interleave(group, 0)
            score = torch.matmul(q[at].transpose(0, 1), k) * scale
            later = torch.arange(last, device=self.device)[None, :] > reach[:, None]
            share = score.masked_fill(later, -torch.inf).softmax(2)
            out[at] = torch.matmul(share, v).transpose(0, 1)
        return out

    def swiglu(self, gate: Array, up: Array) -> Array:
        """Return silu(gate) * up."""
        return torch.nn.functional.silu(gate) * up

    def scale_rows_by_sigmoid(self, y: Array, logit: Array) -> Array:
        """Return y * sigmoid(logit), logit [n, 1]."""
        return y * torch.sigmoid(logit)

    def add_weighted_rows(self, total: Array, rows: Index, weight: Array, y: Array) -> None:
        """Add weight[i] * y[i] to total[rows[i]] in place; rows are distinct."""
        total.index_add_(0, self._index(rows), y * self.array(weight)[:, None])

    def negative_log_likelihood(self, logits: Array, target: Index) -> NDArray[np.float64]:
        """Return -log softmax(logits)[target] of each row in nats, float64, on the host."""
        found, at = [], self._index(target)
        for first in range(0, len(target), _ROWS_OF_LOGITS):
            rows = slice(first, first + _ROWS_OF_LOGITS)
            wide = logits[rows].double()
            chosen = wide.gather(1, at[rows, None])[:, 0]
            found.append(wide.logsumexp(1) - chosen)
        return np.asarray(torch.cat(found).cpu().numpy())

    def _index(self, rows: Index) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(self.device)
