"""The arithmetic of fits, on the host and in torch.

Steps are written once, against `Algebra`: sums over tokens that are exact whatever their order
(`romer.exact_sums`), a Cholesky factorisation, leading directions, losses. `HostAlgebra` computes
in one order of operations on any machine; `romer.device_algebra` does the same in float64 where the
arrays of a torch model lie. Sums have the same bits there, factors do not: on the same inputs
corrections agree to one part in 100,000 (tests/romer/test_device_fits.py).
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import ArrayBackend, NumbaBackend
from cimsim.model.kernels.product import product
from cimsim.model.kernels.rows import divergence, log_softmax
from romer.exact_sums import Moments, column_moments, gram_matrix
from romer.factorise import Cholesky, leading_rows, multiply

__all__ = ["HOST", "Algebra", "Factorised", "HostAlgebra", "algebra_of"]

Array = Any  # NumPy's, or a tensor


class Factorised(Protocol):
    """A = L L^T of a symmetric positive definite matrix."""

    def half(self, right: Array) -> Array:
        """Return L^-1 right."""
        ...

    def rest(self, half: Array) -> Array:
        """Return L^-T half: A^-1 right of what `half` returned."""
        ...


class Algebra(Protocol):
    """What fits ask of arrays beside +, -, *, / and powers; matrices of sums are float64."""

    def taken(self, x: Array, backend: ArrayBackend) -> Array:
        """Return an array of a backend as fits take it."""
        ...

    def array(self, values: NDArray[np.float32]) -> Array:
        """Return NumPy's values as fits take them."""
        ...

    def host(self, values: Array) -> NDArray[np.float32]:
        """Return values as NumPy's float32."""
        ...

    def single(self, values: Array) -> Array:
        """Return values as float32 where they lie."""
        ...

    def host64(self, sums: Array) -> NDArray[np.float64]:
        """Return sums as NumPy's float64."""
        ...

    def product(self, x: Array, w: Array) -> Array:
        """Return x @ w in float32."""
        ...

    def gram_matrix(self, x: Array, y: Array) -> Array:
        """Return x^T y of float32 [n, columns]."""
        ...

    def column_moments(self, x: Array, y: Array) -> Moments:
        """Return the sums of x, y, x x and x y over the rows of each column."""
        ...

    def ridged(self, gram: Array, share: float, least: float) -> Factorised:
        """Factorise gram + (share x mean of its diagonal + least) I; `gram` is overwritten.

        Raises:
            CimsimInternalError: if that is not positive definite.
        """
        ...

    def leading_rows(self, matrix: Array, rank: int) -> Array:
        """Return orthonormal rows near the leading right singular vectors."""
        ...

    def multiply(self, a: Array, b: Array) -> Array:
        """Return a b of float64 matrices."""
        ...

    def identity(self, n: int) -> Array:
        """Return the identity matrix, float64."""
        ...

    def log_probabilities(self, logits: Array) -> Array:
        """Return log softmax over the last axis, float32, summed in float64."""
        ...

    def losses(
        self, log_p: Array, clean: Array, following: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return -log_p of the following tokens and KL(clean || log_p), nats, [windows, tokens]."""
        ...


class HostAlgebra:
    """NumPy arrays, in one order of operations."""

    product = staticmethod(product)
    gram_matrix = staticmethod(gram_matrix)
    column_moments = staticmethod(column_moments)
    leading_rows = staticmethod(leading_rows)
    multiply = staticmethod(multiply)
    identity = staticmethod(np.eye)

    def taken(self, x: Array, backend: ArrayBackend) -> Array:
        """Return an array on the host."""
        return backend.host(x)

    def array(self, values: NDArray[np.float32]) -> Array:
        """Return the values themselves."""
        return values

    def host(self, values: Array) -> NDArray[np.float32]:
        """Return values as float32."""
        return np.asarray(values, dtype=np.float32)

    def single(self, values: Array) -> Array:
        """Return values as float32."""
        return np.asarray(values, dtype=np.float32)

    def host64(self, sums: Array) -> NDArray[np.float64]:
        """Return the sums themselves."""
        return np.asarray(sums)

    def ridged(self, gram: Array, share: float, least: float) -> Factorised:
        """Factorise gram with a ridge."""
        gram[np.diag_indices_from(gram)] += share * np.trace(gram) / len(gram) + least
        return Cholesky(gram)

    def log_probabilities(self, logits: Array) -> Array:
        """Return log softmax over the last axis."""
        rows = np.ascontiguousarray(logits).reshape(-1, logits.shape[-1])
        return log_softmax(rows).reshape(logits.shape)

    def losses(
        self, log_p: Array, clean: Array, following: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return losses of the following tokens and divergences from the clean model."""
        chosen = np.take_along_axis(log_p, following[..., None], axis=2)[..., 0]
        vocab = log_p.shape[-1]
        apart = divergence(clean.reshape(-1, vocab), log_p.reshape(-1, vocab))
        return -chosen.astype(np.float64), apart.reshape(following.shape)


HOST = HostAlgebra()


@runtime_checkable
class _OnDevice(Protocol):
    """Arrays of torch."""

    @property
    def device(self) -> Any:
        """Where they lie."""
        ...


def algebra_of(backend: ArrayBackend) -> Algebra:
    """Return the arithmetic of fits where the arrays of a backend lie."""
    if isinstance(backend, NumbaBackend) or not isinstance(backend, _OnDevice):
        return HOST
    from romer.device_algebra import DeviceAlgebra  # noqa: PLC0415 - torch is optional

    return DeviceAlgebra(backend.device)
