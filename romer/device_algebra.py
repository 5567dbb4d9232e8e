"""The arithmetic of fits in torch, in float64, where the tensors of a model lie.

What `romer.exact_sums` and `romer.factorise` compute, for calibration at the size of released
models: sums are those of whole numbers on the same grids and so exact; factors come from the
device's library. Nothing crosses to the host but finished corrections and losses.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.errors import CimsimInternalError
from cimsim.model.array_backend import ArrayBackend
from romer.exact_sums import Moments, summed_bits
from romer.factorise import ITERATIONS, first_rows

__all__ = ["DeviceAlgebra"]

_ROWS_OF_LOGITS = 1024  # at a time in float64


class DeviceAlgebra:
    """Tensors of one device; predictions stay where they were made.

    Args:
        device: where they lie.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def taken(self, x: Any, backend: ArrayBackend) -> Any:
        """Return the tensor itself, or that of another device here."""
        del backend
        return x.to(self._device)

    def array(self, values: NDArray[np.float32]) -> Tensor:
        """Return NumPy's values on the device."""
        values = np.ascontiguousarray(values)
        return torch.from_numpy(values).to(self._device, non_blocking=True)

    def host(self, values: Tensor) -> NDArray[np.float32]:
        """Return values as NumPy's float32."""
        return values.float().cpu().numpy()

    def single(self, values: Tensor) -> Tensor:
        """Return values as float32 on the device."""
        return values.float().contiguous()

    def host64(self, sums: Tensor) -> NDArray[np.float64]:
        """Return sums as NumPy's float64."""
        return sums.cpu().numpy()

    def product(self, x: Tensor, w: Tensor) -> Tensor:
        """Return x @ w in float32."""
        return torch.matmul(x, w)

    def gram_matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x^T y, float64 [x columns, y columns]."""
        qx, ux = _on_grid(x)
        qy, uy = (qx, ux) if y is x else _on_grid(y)
        return (qx.T @ qy) * ux[:, None] * uy

    def column_moments(self, x: Tensor, y: Tensor) -> Moments:
        """Return the sums of x, y, x x and x y over the rows of each column, float64."""
        (qx, ux), (qy, uy) = _on_grid(x), _on_grid(y)
        return Moments(
            qx.sum(0) * ux, qy.sum(0) * uy, (qx * qx).sum(0) * ux * ux, (qx * qy).sum(0) * ux * uy
        )

    def ridged(self, gram: Tensor, share: float, least: float) -> _Factorised:
        """Factorise gram with a ridge.

        Raises:
            CimsimInternalError: if that is not positive definite.
        """
        gram.diagonal().add_(share * gram.trace() / len(gram) + least)
        lower, wrong = torch.linalg.cholesky_ex(gram)
        if int(wrong):
            message = "a matrix of a fit is not positive definite"
            raise CimsimInternalError(message)
        return _Factorised(lower)

    def leading_rows(self, matrix: Tensor, rank: int) -> Tensor:
        """Return orthonormal rows near the leading right singular vectors, [rank, columns].

        The iterations of `romer.factorise.leading_rows`; rows beyond the rank of the matrix are
        zero.
        """
        start = _first_rows(matrix.shape[1], rank, self._device)
        basis, wrong = start, torch.zeros((), dtype=torch.int32, device=self._device)
        for i in range(ITERATIONS):
            last = i == ITERATIONS - 1
            basis, failed = _orthonormal((basis @ matrix.T) @ matrix, rounds=2 if last else 1)
            wrong |= failed
        # What is once infinite or no number stays so: it is looked for once, at the end.
        if not bool(wrong.bool() | ~torch.isfinite(basis.sum())):
            return basis
        basis = start
        for _ in range(ITERATIONS):
            basis = _orthonormal_of_rank((basis @ matrix.T) @ matrix)
        return basis

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a b."""
        return a @ b

    def identity(self, n: int) -> Tensor:
        """Return the identity matrix."""
        return torch.eye(n, dtype=torch.float64, device=self._device)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return log softmax over the last axis, float32."""
        rows = logits.reshape(-1, logits.shape[-1])
        found = torch.empty_like(rows)
        for first in range(0, len(rows), _ROWS_OF_LOGITS):
            some = slice(first, first + _ROWS_OF_LOGITS)
            found[some] = torch.log_softmax(rows[some].double(), dim=1)
        return found.reshape(logits.shape)

    def losses(
        self, log_p: Tensor, clean: Tensor, following: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return losses of the following tokens and divergences from the clean model."""
        vocab = log_p.shape[-1]
        found, wanted = log_p.reshape(-1, vocab), clean.reshape(-1, vocab)
        # Where logits lie: of several devices that share layers, the last.
        at = torch.from_numpy(np.ascontiguousarray(following)).to(log_p.device).reshape(-1, 1)
        apart = []
        for first in range(0, len(found), _ROWS_OF_LOGITS):
            some = slice(first, first + _ROWS_OF_LOGITS)
            p = wanted[some].double()
            apart.append((p.exp() * (p - found[some].double())).sum(1))
        text, kl = -found.gather(1, at)[:, 0].double(), torch.cat(apart)
        shape = following.shape
        return text.cpu().numpy().reshape(shape), kl.cpu().numpy().reshape(shape)


class _Factorised:
    """A = L L^T."""

    def __init__(self, lower: Tensor) -> None:
        self._lower = lower

    def half(self, right: Tensor) -> Tensor:
        """Return L^-1 right."""
        found: Tensor = torch.linalg.solve_triangular(self._lower, right, upper=False)
        return found

    def rest(self, half: Tensor) -> Tensor:
        """Return L^-T half."""
        found: Tensor = torch.linalg.solve_triangular(self._lower.T, half, upper=True)
        return found


def _on_grid(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole numbers, float64 [n, columns], and the value of one, [columns]."""
    bits = summed_bits(len(x))
    greatest = x.abs().amax(0) if len(x) else x.new_zeros(x.shape[1])
    _, exponent = torch.frexp(greatest.double())
    unit = torch.ldexp(torch.ones_like(greatest, dtype=torch.float64), exponent - bits)
    return torch.round(x.double() / unit), unit


def _orthonormal(rows: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Return rows of the same span, orthonormal if not 0 is returned with them (Cholesky QR)."""
    rows = rows / rows.abs().amax().clamp(min=torch.finfo(torch.float64).tiny)
    lower, failed = torch.linalg.cholesky_ex(rows @ rows.T)
    rows = torch.linalg.solve_triangular(lower, rows, upper=False)
    for _ in range(rounds - 1):
        lower, wrong = torch.linalg.cholesky_ex(rows @ rows.T)
        rows = torch.linalg.solve_triangular(lower, rows, upper=False)
        failed = failed | wrong
    return rows, failed


def _orthonormal_of_rank(rows: Tensor) -> Tensor:
    """Return orthonormal rows; those that depend on rows before them are zero."""
    found = torch.zeros_like(rows)
    for i, row in enumerate(rows):
        before = row.norm()
        for _ in range(2):
            row = row - found[:i].T @ (found[:i] @ row)  # noqa: PLW2901 - Gram and Schmidt
        length = row.norm()
        found[i] = torch.where(length > 1e-12 * before, row / length, 0.0)
    return found


@lru_cache(maxsize=16)
def _first_rows(columns: int, rank: int, device: torch.device) -> Tensor:
    return torch.from_numpy(first_rows(columns, rank)).to(device)
