"""What a module multiplies with: the float weight while inputs are recorded, then a tile."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.backends.torch.copies import TorchCopy
from cimsim.backends.torch.host_copy import HostCopy
from cimsim.backends.torch.ideal import TorchIdeal
from cimsim.errors import CimsimError
from cimsim.mac import Mode
from cimsim.workload.matrix import TokenKeys

__all__ = ["Product", "Recorded", "TileProduct"]


class Product(Protocol):
    """Products of rows with one matrix."""

    def __call__(self, x: Tensor, keys: TokenKeys, /) -> Tensor:
        """Return the product of rows [n, n_in], [n, n_out]."""
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

    def __call__(self, x: Tensor, _keys: TokenKeys) -> Tensor:
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


class TileProduct:
    """Products on a tile, in the dtype of their inputs; no gradient passes through.

    Args:
        copy: the programmed matrix.
        mode: detailed or folded; in detail where folding is not faithful.
        read_seed: of fresh noise.
    """

    def __init__(self, copy: TorchCopy | TorchIdeal | HostCopy, mode: Mode, read_seed: int) -> None:
        self._copy, self._mode, self._read_seed = copy, mode, read_seed

    @torch.compiler.disable
    def __call__(self, x: Tensor, keys: TokenKeys) -> Tensor:
        """Return the noisy product of rows [n, n_in]."""
        y: Tensor = _Forward.apply(x, self, keys)  # type: ignore[no-untyped-call]
        return y

    def compute(self, x: Tensor, keys: TokenKeys) -> Tensor:
        """Return the same, unseen by autograd."""
        y: Tensor = self._copy.multiply(
            x, keys, read_seed=self._read_seed, mode=self._mode, replica=0, statistics=None
        )
        return y.to(x.dtype)


class _Forward(torch.autograd.Function):
    """The product as autograd sees it: it has no derivative."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor, product: TileProduct, keys: TokenKeys) -> Tensor:
        return product.compute(x.detach(), keys)

    @staticmethod
    def backward(_ctx: Any, *_grads: Any) -> Any:
        raise CimsimError(
            "no gradient passes through an analog tile: analogize serves inference",
            hint="train the float model, then analogize it",
        )
