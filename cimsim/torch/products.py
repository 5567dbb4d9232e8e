"""What a module multiplies with: the float weight while inputs are recorded, then a tile."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.backends.torch.plain import Tokens
from cimsim.errors import CimsimError
from cimsim.mac import IdealMatrix
from cimsim.workload.matrix import TokenKeys

__all__ = ["HostTile", "OneCopy", "Product", "Recorded", "TileProduct"]


class Product(Protocol):
    """Products of rows with one matrix."""

    def __call__(self, x: Tensor, tokens: Tokens, /) -> Tensor:
        """Return the product of rows [n, n_in], [n, n_out]."""
        ...


class OneCopy(Protocol):
    """One copy of a matrix on a device: `TorchTile` or `FoldedTile`."""

    def multiply(self, x: Tensor, tokens: Tokens, *, read_seed: int, replica: int = 0) -> Tensor:
        """Return the noisy product, float32 [n, n_out]."""
        ...


class Recorded:
    """Float products that keep the first rows they see.

    Args:
        weight: [n_out, n_in].
        rows: how many to keep.
    """

    def __init__(self, weight: Tensor, rows: int) -> None:
        self._weight, self._room = weight, rows
        self._kept: list[NDArray[np.float32]] = []

    def __call__(self, x: Tensor, _tokens: Tokens) -> Tensor:
        """Return x @ weight.T."""
        if self._room:
            some = x[: self._room].detach().float().cpu().numpy()
            self._room -= len(some)
            self._kept.append(some)
        return torch.nn.functional.linear(x, self._weight)

    @property
    def inputs(self) -> NDArray[np.float32]:
        """What was kept, float32 [rows, n_in]."""
        return np.concatenate([np.zeros((0, self._weight.shape[1]), np.float32), *self._kept])


class HostTile:
    """A matrix of a digital crossbar: exact integer products, computed on the host.

    Args:
        ideal: the matrix.
    """

    def __init__(self, ideal: IdealMatrix) -> None:
        self._ideal = ideal

    def multiply(self, x: Tensor, tokens: Tokens, *, read_seed: int, replica: int = 0) -> Tensor:
        """Return the product, float32 [n, n_out]."""
        keys = TokenKeys(*(t.cpu().numpy() for t in tokens))
        rows = x.detach().float().cpu().numpy()
        y = self._ideal.multiply(rows, keys, read_seed=read_seed, replica=replica)
        return torch.from_numpy(y).to(x.device)


class TileProduct:
    """Products on a tile, in the dtype of their inputs; no gradient passes through.

    Args:
        tile: the programmed matrix.
        read_seed: of fresh noise.
    """

    def __init__(self, tile: OneCopy, read_seed: int) -> None:
        self._tile, self._read_seed = tile, read_seed

    @torch.compiler.disable
    def __call__(self, x: Tensor, tokens: Tokens) -> Tensor:
        """Return the noisy product of rows [n, n_in]."""
        y: Tensor = _Forward.apply(x, self._tile, tokens, self._read_seed)  # type: ignore[no-untyped-call]
        return y


class _Forward(torch.autograd.Function):
    """The product as autograd sees it: it has no derivative."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor, tile: OneCopy, tokens: Tokens, read_seed: int) -> Tensor:
        return tile.multiply(x, tokens, read_seed=read_seed).to(x.dtype)

    @staticmethod
    def backward(_ctx: Any, *_grads: Any) -> Any:
        raise CimsimError(
            "no gradient passes through an analog tile: analogize serves inference",
            hint="train the float model, then analogize it",
        )
