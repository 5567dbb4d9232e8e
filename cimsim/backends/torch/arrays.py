"""The digital arithmetic of a decoder in torch, float32, on a CPU or a CUDA device.

`cimsim.model.array_backend.ArrayBackend` in tensors. Sums run in the order that torch's kernels
have, so that the last bits of a row may depend on the rows beside it; products use no shortened
formats (TF32). Routing is decided on the host by the kernel of the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from cimsim.backends.torch.copies import Reading
from cimsim.backends.torch.detailed_experts import How
from cimsim.backends.torch.joined_experts import join_experts
from cimsim.backends.torch.later import Later
from cimsim.backends.torch.memory import DeviceMemory
from cimsim.mac import MacStatistics, Mode
from cimsim.model import Checkpoint, ExpertCall
from cimsim.model.kernels.selection import select, select_in_groups
from cimsim.workload.matrix import MatrixId

__all__ = ["TorchBackend"]

Array = Any  # a tensor here, where the protocol names NumPy's arrays
Index = NDArray[np.int64]

_ROWS_OF_LOGITS = 1024  # at a time in float64
_READERS = 8  # threads that read the weights of a layer


class TorchBackend:
    """Tensors of float32 on one device.

    Args:
        device: where they lie.
        reading: how folded copies of experts are read together; None where they are not. In
            `fast` on a CUDA device attention mixes in bf16 and experts are chosen there.
    """

    select_in_groups = staticmethod(select_in_groups)

    def __init__(self, device: torch.device | str = "cpu", reading: Reading | None = None) -> None:
        self.device, self._reading = torch.device(device), reading
        on_cuda = self.device.type == "cuda"
        self._moves = self.device.type != "cpu"  # asking for that takes as long as a small product
        self._fast = on_cuda and reading is not None and reading.precision == "fast"
        self.batch_tokens = 16384 if on_cuda else 4096
        self._weights: dict[tuple[str, MatrixId], torch.Tensor] = {}
        self._kept_bytes = 0  # of them
        self._later = Later(waits=on_cuda) if reading is None else reading.later

    def together(self) -> AbstractContextManager[None]:
        """Look at what is found wrong on a device once, at the end."""
        return self._later.together()

    def of_layer(self, layer: int) -> TorchBackend:
        """Return itself: one device computes all layers."""
        del layer
        return self

    def array(self, values: Array) -> Array:
        """Return values as a contiguous tensor on the device."""
        if isinstance(values, torch.Tensor):
            return (values.to(self.device) if self._moves else values).contiguous()
        values = np.ascontiguousarray(values)
        if not values.flags.writeable:
            values = values.copy()  # a tensor over it would promise that it may be written
        return self._sent(torch.from_numpy(values))

    def weight(self, checkpoint: Checkpoint, matrix: MatrixId) -> Array:
        """Return the weights of a matrix [n_in, n_out]: a view of what is stored.

        On a device they are kept in the type in which they are stored, as far as memory goes.
        """
        if not self._moves:
            return self.array(checkpoint.matrix(matrix))
        kept = self._weights.get((checkpoint.hash, matrix))
        if kept is None:
            kept = self._read_with_layer(checkpoint, matrix)
        return kept.T

    def _read_with_layer(self, checkpoint: Checkpoint, matrix: MatrixId) -> torch.Tensor:
        """Return stored weights; of an expert with all of its layer's, if they may be kept."""
        memory = None if self._reading is None else self._reading.memory
        layer = checkpoint.program.layers[matrix.layer] if matrix.part == "experts" else None
        ahead = [] if layer is None else [m for three in layer.experts for m in three]
        comes = sum(2 * m.size for m in ahead)
        if len(ahead) < 2 or memory is None or not self._has_room(memory, comes):
            kept = self._read(checkpoint, matrix)
            if memory is None or self._has_room(memory, kept.nbytes):
                self._keep([(checkpoint.hash, matrix)], [kept])
            return kept
        names = [m.id for m in ahead if (checkpoint.hash, m.id) not in self._weights]
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(lambda name: self._read(checkpoint, name), names)
            self._keep([(checkpoint.hash, n) for n in names], list(found))
        return self._weights[checkpoint.hash, matrix]

    def _has_room(self, memory: DeviceMemory, comes: int) -> bool:
        return memory.has_room_for_weights(self._kept_bytes, comes)

    def _keep(self, names: Sequence[tuple[str, MatrixId]], some: Sequence[torch.Tensor]) -> None:
        self._weights.update(zip(names, some, strict=True))
        self._kept_bytes += sum(each.nbytes for each in some)

    def _read(self, checkpoint: Checkpoint, matrix: MatrixId) -> torch.Tensor:
        """Return stored weights [n_out, n_in], of half the width where that loses nothing."""
        bits = checkpoint.bfloat16(matrix)
        if bits is not None:
            stored: torch.Tensor = self.array(bits.view(np.int16))
            return stored.view(torch.bfloat16)
        wide: torch.Tensor = self.array(np.ascontiguousarray(checkpoint.matrix(matrix).T))
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
        """Return x @ w; on a CUDA device a float32 is three bf16, whose products are summed."""
        if not (x.is_cuda and w.dtype == torch.bfloat16):
            return torch.matmul(x, w.float())
        total, rest = None, x
        for _ in range(3):
            part = rest.bfloat16()
            y = torch.mm(part, w, out_dtype=torch.float32)
            total, rest = (y if total is None else total.add_(y)), rest - part.float()
        return total

    def mean(self, several: Sequence[Array]) -> Array:
        """Return the mean of tensors, summed in float64."""
        total = several[0].double()
        for each in several[1:]:
            total = total + each.double()
        return (total / len(several)).float()

    def greatest(self, x: Array) -> Array:
        """Return the greatest magnitude of every row."""
        return x.abs().amax(dim=1, keepdim=True)

    def refuse_infinite(self, x: Array, refuse: Callable[[bool], None]) -> None:
        """Call `refuse` unless every entry is finite: when a device is looked at."""
        if not self._moves and math.isfinite(x.sum().item()):
            return  # quick, but finite entries may add up to more than float32 holds

        def look(found: Sequence[float]) -> None:
            if not math.isfinite(found[0]):
                refuse(math.isinf(found[0]))

        # One pass: infinite if an entry is, not a number if one is none.
        self._later.ask([torch.linalg.vector_norm(x, 1, dtype=torch.float64)], look)

    def columns(self, x: Array, which: Index) -> Array:
        """Return some entries of the last axis, contiguous."""
        return x.index_select(-1, self._index(which))

    def beside(self, parts: Sequence[Array]) -> Array:
        """Return tensors joined along the last axis."""
        return torch.cat(tuple(parts), dim=-1)

    def clip(self, x: Array, bound: float) -> Array:
        """Return entries limited to -bound and bound."""
        return x.clamp(-bound, bound)

    def select(
        self, logits: Array, top_k: int, *, renormalise: bool, scale: float
    ) -> tuple[NDArray[np.int16], Array]:
        """Return the k experts of the largest logits, and their softmax gates, on the host."""
        if not self._fast or isinstance(logits, np.ndarray):
            host = logits if isinstance(logits, np.ndarray) else self.host(logits)
            return select(host, top_k, renormalise=renormalise, scale=scale)
        # Stable: of equal logits the lower expert wins.
        order = logits.sort(dim=1, descending=True, stable=True)
        experts, chosen = order.indices[:, :top_k], order.values[:, :top_k].double()
        weight = (chosen - chosen[:, :1]).exp()
        every = weight if renormalise else (logits.double() - chosen[:, :1]).exp()
        gates = weight / every.sum(1, keepdim=True) * scale
        return experts.to(torch.int16).cpu().numpy(), gates.float().cpu().numpy()

    def join_experts(
        self,
        copies: Mapping[int, tuple[Any, ...]],
        call: ExpertCall,
        *,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None,
    ) -> tuple[Array, frozenset[int]] | None:
        """Return the sum of some experts by gates, and which: those that are read together."""
        if self._reading is None:
            return None
        return join_experts(self._reading, copies, call, How(read_seed, mode, statistics))

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        """Return x / sqrt(mean(x^2) + eps) * gain, the mean in float64 unless `fast`."""
        if self._fast:
            return torch.nn.functional.rms_norm(x, x.shape[1:], gain, eps)
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
        if self._fast and _whole_windows(slots, position, len(keys)):
            return _attend_windows(q, keys, values, len(q) // len(keys), scale)
        out = q.new_empty((*q.shape[:2], values.shape[3]))
        group = q.shape[1] // keys.shape[1]
        for slot in np.unique(slots):
            rows = np.flatnonzero(slots == slot)
            last = int(position[rows].max()) + 1
            at, reach = self._index(rows), self._index(position[rows])
            k, v = keys[int(slot), :, :, :last], values[int(slot), :, :last]
            if group > 1:
                k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
            score = torch.matmul(q[at].transpose(0, 1), k) * scale
            later = torch.arange(last, device=self.device)[None, :] > reach[:, None]
            share = score.masked_fill(later, -torch.inf).softmax(2)
            out[at] = torch.matmul(share, v).transpose(0, 1)
        return out

    def swiglu(self, gate: Array, up: Array) -> Array:
        """Return silu(gate) * up."""
        gated = torch.nn.functional.silu(gate)
        # In its own place where that rounds nothing: forms of a layer may differ in type.
        return gated.mul_(up) if gated.dtype == up.dtype else gated * up

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
            found.append(cross_entropy(logits[rows].double(), at[rows], reduction="none"))
        return np.asarray(torch.cat(found).cpu().numpy())

    def _index(self, rows: Index) -> torch.Tensor:
        return self._sent(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)))

    def _sent(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.device, non_blocking=True) if self._moves else values


def _whole_windows(slots: Index, position: Index, windows: int) -> bool:
    """Whether rows are all positions from the first on of every window, one after another."""
    if len(slots) % windows:
        return False
    shape = windows, len(slots) // windows
    by_window = slots.reshape(shape) == np.arange(windows)[:, None]
    return bool(by_window.all() and (position.reshape(shape) == np.arange(shape[1])).all())


def _attend_windows(q: Array, keys: Array, values: Array, context: int, scale: float) -> Array:
    """Return causal attention of whole windows in bf16, float32 [n, heads, value width]."""
    n, heads, _ = q.shape
    windows = n // context
    queries = q.reshape(windows, context, heads, -1).transpose(1, 2).bfloat16()
    # The fused kernel wants widths side by side.
    k = keys[..., :context].transpose(2, 3).bfloat16().contiguous()
    v = values[:, :, :context].bfloat16().contiguous()
    mixed = torch.nn.functional.scaled_dot_product_attention(
        queries, k, v, is_causal=True, scale=scale, enable_gqa=heads != k.shape[1]
    )
    return mixed.transpose(1, 2).reshape(n, heads, -1).float()
