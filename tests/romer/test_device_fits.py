"""Fits in torch are those of the host: sums to the bit, corrections to a few parts in a million."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cimsim.backends.torch.arrays import TorchBackend
from cimsim.model import Correction, Decoder, FloatLinear, identity
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer import CleanReference, Task
from romer.acceptance import accept_loss
from romer.algebra import HOST
from romer.device_algebra import DeviceAlgebra
from romer.exact_sums import column_products
from romer.record import record_routers
from romer.registry import step_of
from romer.sequential import fit_in_one_pass
from romer.steps.columns import fit_scale_and_offset
from romer.steps.low_rank import fit_reduced_rank, least_tokens, plan_ranks
from tests.romer.romer_bench import ArrayDeployment, ArrayLinear, Bench

DEVICE = DeviceAlgebra(torch.device("cpu"))
ERROR = 0.3
TOLERANCE = 1e-4  # of a layer's outputs: products in float32 differ before anything is fitted


@pytest.fixture(scope="module")
def draws() -> np.random.Generator:
    return np.random.default_rng(7)


class TensorLinear:
    """The products of an `ArrayLinear`, tensors in and out."""

    def __init__(self, linear: ArrayLinear) -> None:
        self._linear = linear

    def __call__(self, matrix: MatrixId, x: torch.Tensor, tokens: TokenKeys) -> torch.Tensor:
        return torch.from_numpy(self._linear(matrix, x.numpy(), tokens))


class TensorDeployment(ArrayDeployment):
    def linear(self, correction: Correction | None, *, read_seed: int, mode: str) -> Any:
        return TensorLinear(super().linear(correction, read_seed=read_seed, mode=mode))


def on_torch(bench: Bench) -> Task:
    backend = TorchBackend("cpu")
    decoder, digital = Decoder(bench.checkpoint, backend), FloatLinear(bench.checkpoint, backend)
    return replace(
        bench.task(ERROR),
        decoder=decoder,
        clean=digital,
        reference=CleanReference.measure(decoder, digital, bench.text),
        deployment=TensorDeployment(bench.checkpoint, ERROR),
    )


@pytest.fixture(scope="module")
def tasks(bench: Bench) -> tuple[Task, Task]:
    return bench.task(ERROR), on_torch(bench)


def test_sums_over_tokens_have_the_bits_of_the_host(draws: np.random.Generator) -> None:
    x, y = (draws.standard_normal((301, n), dtype=np.float32) for n in (7, 5))
    x[:, 2] = 0.0  # a channel that says nothing
    x[:, 3] *= 1e-30
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    assert np.array_equal(DEVICE.gram_matrix(a, b).numpy(), HOST.gram_matrix(x, y))
    assert np.array_equal(DEVICE.gram_matrix(a, a).numpy(), HOST.gram_matrix(x, x))
    c, z = torch.from_numpy(x[:, ::-1].copy()), x[:, ::-1].copy()
    for found, wanted in zip(DEVICE.column_moments(a, c), HOST.column_moments(x, z), strict=True):
        assert np.array_equal(found.numpy(), wanted)
    assert np.array_equal(DEVICE.column_moments(a, a).xy.numpy(), column_products(x, x))


@pytest.mark.parametrize(("rank", "n_in", "n_out"), [(3, 48, 40), (40, 48, 40), (30, 20, 64)])
def test_low_rank_terms_predict_what_the_hosts_do(
    draws: np.random.Generator, rank: int, n_in: int, n_out: int
) -> None:
    x = draws.standard_normal((400, n_in), dtype=np.float32)
    residual = x @ draws.standard_normal((n_in, n_out), dtype=np.float32)
    host = fit_reduced_rank(x, residual, rank)
    found = fit_reduced_rank(torch.from_numpy(x), torch.from_numpy(residual), rank, DEVICE)
    assert (found.u.shape, found.v.shape) == (host.u.shape, host.v.shape)
    wanted = x @ host.u @ host.v
    ours = x @ found.u.numpy() @ found.v.numpy()
    assert np.abs(ours - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_directions_beyond_the_rank_of_an_error_are_zero(draws: np.random.Generator) -> None:
    x = draws.standard_normal((200, 24), dtype=np.float32)
    nothing = torch.zeros(200, 16)
    found = fit_reduced_rank(torch.from_numpy(x), nothing, 4, DEVICE)
    assert not found.u.any() and not found.v.any()
    one = np.outer(draws.standard_normal(16), draws.standard_normal(12))
    rows = DEVICE.leading_rows(torch.from_numpy(one), 3).numpy()
    wanted = one[0] / np.linalg.norm(one[0])
    assert np.abs(np.abs(rows[0]) - np.abs(wanted)).max() < 1e-9


def test_scales_and_offsets_are_the_hosts(draws: np.random.Generator) -> None:
    y = draws.standard_normal((90, 6), dtype=np.float32)
    target = (1.5 * y + 0.25 + 0.1 * draws.standard_normal(y.shape)).astype(np.float32)
    host = fit_scale_and_offset(y, target)
    found = fit_scale_and_offset(torch.from_numpy(y), torch.from_numpy(target), DEVICE)
    assert np.array_equal(found.scale, host.scale) and np.array_equal(found.offset, host.offset)


def test_every_fit_of_a_pass_is_the_hosts_on_the_same_inputs(bench: Bench) -> None:
    task = bench.task(ERROR)
    ranks = plan_ranks(task.decoder.program, task.analog)
    compared = 0

    def fit(matrix: MatrixId, x: Any, y: Any, target: Any) -> Any:
        nonlocal compared
        rank = ranks.get(matrix, 0)
        if matrix.layer or len(x) < max(least_tokens(matrix, rank, x.shape[1]), 2 * rank):
            return y
        residual = target - y
        a, b, t = (torch.from_numpy(np.ascontiguousarray(v)) for v in (x, y, target))
        if rank:
            terms = fit_reduced_rank(x, residual, rank), fit_reduced_rank(a, t - b, rank, DEVICE)
            host, ours = (np.asarray(term.u) @ np.asarray(term.v) for term in terms)
            assert np.linalg.norm(ours - host) < 1e-5 * np.linalg.norm(host), matrix
        host_column, found = fit_scale_and_offset(y, target), fit_scale_and_offset(b, t, DEVICE)
        assert np.abs(np.asarray(found.scale) - host_column.scale).max() < 1e-6, matrix
        compared += 1
        return y * host_column.scale + host_column.offset

    fit_in_one_pass(task, identity(task.model_hash, task.chip_hash), fit)
    assert compared > 50


def test_a_router_refitted_in_torch_is_the_hosts(tasks: tuple[Task, Task]) -> None:
    found = []
    for task in tasks:
        start = identity(task.model_hash, task.chip_hash)

        def routers(task: Task = task, start: Correction = start) -> Any:
            return record_routers(task.decoder, task.linear(start), start, task.text.fit)

        found.append(step_of("router_refit")(task, start, routers))
    host, device = found
    for layer, refit in host.router_refit.items():
        difference = np.abs(device.router_refit[layer].weight - refit.weight).max()
        assert difference < TOLERANCE * np.abs(refit.weight).max()


def test_losses_on_accept_text_are_the_hosts(tasks: tuple[Task, Task]) -> None:
    host, device = (accept_loss(t, identity(t.model_hash, t.chip_hash)) for t in tasks)
    assert np.abs(device.text - host.text).max() < 1e-3
    assert np.abs(device.expected - host.expected).max() < 1e-3
