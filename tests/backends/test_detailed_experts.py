"""Experts read in detail: together what each gives alone, in plain torch and in one launch."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cimsim.backends.torch import NoisePool, detailed_experts
from cimsim.backends.torch.compute import TorchCompute
from cimsim.backends.torch.detailed_experts import How, Sorted, read_experts
from cimsim.mac import MacStatistics, Mode, Writing, calibrate_range, program_matrix
from cimsim.model import ColumnCorrection, GivenWeight, LowRank, Registers, identity
from cimsim.model.corrected_linear import CorrectedLinear
from cimsim.model.linear import ExpertCall
from cimsim.model.routing import Routing
from cimsim.stages.linear import AnalogLinear
from cimsim.stages.trimmed import TrimmedCopy
from cimsim.workload.matrix import Matrix, MatrixId, TokenKeys
from tests.backends.helpers import KERNEL_TILES, tokens_of
from tests.mac.helpers import make_tile, normal

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available()
D_MODEL, WIDTH, EXPERTS, TOP_K, TOKENS = 64, 48, 5, 2, 12
UNVISITED = 3
runs = pytest.mark.skipif(not (INTERPRETED or ON_GPU), reason="no CUDA device: make test-gpu")
WHERE = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(INTERPRETED or not ON_GPU, reason="no CUDA device: make test-gpu"),
        ],
    ),
]


class _InDetail:
    """Reads the experts that it is given together, on a processor too."""

    def __init__(self, compute: TorchCompute) -> None:
        self._compute = compute

    def of_layer(self, _layer: int) -> _InDetail:
        return self

    def join_experts(
        self,
        copies: Mapping[int, Any],
        call: ExpertCall,
        *,
        read_seed: int,
        mode: Mode,
        statistics: MacStatistics | None,
    ) -> tuple[Any, frozenset[int]]:
        how = How(read_seed, mode, statistics)
        return read_experts(copies, call, self._compute._reading, how), frozenset(copies)


def _call(rng: np.random.Generator, array: Any) -> ExpertCall:
    """A layer of which no token visits one expert."""
    draws = rng.random((TOKENS, EXPERTS))
    draws[:, UNVISITED] = 2.0
    keys = TokenKeys(rng.integers(0, 9, TOKENS), rng.integers(0, 300, TOKENS))
    shapes = {"gate": (D_MODEL, WIDTH), "up": (D_MODEL, WIDTH), "down": (WIDTH, D_MODEL)}
    matrices = tuple(
        tuple(Matrix(MatrixId(1, role, e), *shape) for role, shape in shapes.items())
        for e in range(EXPERTS)
    )
    routing = Routing(
        np.argsort(draws, axis=1)[:, :TOP_K].astype(np.int16),
        rng.random((TOKENS, TOP_K)).astype(np.float32),
        np.zeros((TOKENS, 0), dtype=np.float32),
    )
    return ExpertCall(1, matrices, array(normal(rng, TOKENS, D_MODEL)), keys, routing)


def _chip(
    tile: Any, call: ExpertCall, compute: TorchCompute, rng: np.random.Generator, *, trimmed: bool
) -> dict[MatrixId, tuple[Any]]:
    """Copies of all matrices; with registers but for one."""
    found, array = {}, compute.backend.array
    for e, three in enumerate(call.experts):
        for role, matrix in enumerate(three):
            weight = normal(rng, matrix.n_in, matrix.n_out)
            adc_range = calibrate_range(weight, matrix.id, tile, normal(rng, 40, matrix.n_in))
            copy: Any = compute.write(GivenWeight(weight), tile, Writing(1, matrix.id), adc_range)
            if trimmed and (e, role) != (2, 1):
                both = (1.0 + 0.2 * normal(rng, matrix.n_out), 0.3 * normal(rng, matrix.n_out))
                registers = Registers(array(both[0]), array(both[1]), None)
                copy = TrimmedCopy(copy, registers, compute.backend)
            found[matrix.id] = (copy,)
    return found


def _corrections(call: ExpertCall, rng: np.random.Generator) -> Any:
    """Columns of every matrix but one, low-rank terms of gates and downs."""
    matrices = [m for three in call.experts for m in three]
    columns = {
        m.id: ColumnCorrection(1.0 + 0.1 * normal(rng, m.n_out), normal(rng, m.n_out))
        for m in matrices[1:]
    }
    low_rank = {
        m.id: LowRank(0.1 * normal(rng, m.n_in, 2), 0.1 * normal(rng, 2, m.n_out))
        for m in matrices
        if m.id.role != "up"
    }
    return replace(identity("m", "c"), columns=columns, low_rank=low_rank)


def _alone(linear: Any, call: ExpertCall) -> Tensor:
    """The sum of experts one after another, as the interpreter takes it."""
    x: Any = call.x
    total = torch.zeros_like(x)
    for e, (gate, up, down) in enumerate(call.experts):
        rows = np.flatnonzero((call.routing.experts == e).any(1))
        some = call.tokens.take(rows)
        hidden = torch.nn.functional.silu(linear(gate.id, x[rows], some))
        y = linear(down.id, hidden * linear(up.id, x[rows], some), some)
        share = call.routing.gates[rows][call.routing.experts[rows] == e]
        total[rows] += y * torch.from_numpy(share).to(x.device)[:, None]
    return total


@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("mode", ["detailed", "folded"])
@pytest.mark.parametrize("name", ["offset", "offset_read", "charge", "center_errors", "isaac"])
def test_experts_together_give_what_each_gives_alone(
    name: str, mode: Mode, corrected: bool, device: str
) -> None:
    rng = np.random.default_rng(0)
    compute = TorchCompute(device, "fast", 0)
    call = _call(rng, compute.backend.array)
    programmed = _chip(make_tile(**KERNEL_TILES[name]), call, compute, rng, trimmed=corrected)
    found, counts = [], [MacStatistics(), MacStatistics()]
    correction = _corrections(call, rng)
    for statistics, backend in zip(counts, (_InDetail(compute), compute.backend), strict=True):
        digital: Any = SimpleNamespace(backend=backend)
        linear: Any = AnalogLinear(programmed, digital, 4, mode, frozenset(), statistics)
        if corrected:
            linear = CorrectedLinear(linear, correction, compute.backend)
        if isinstance(backend, _InDetail):
            total, served = linear.serve_experts(call)
            assert served == set(range(EXPERTS))
        else:
            total = _alone(linear, call)
        found.append(total)
    assert torch.isfinite(found[0]).all()
    if mode == "folded" and device == "cuda":  # sums are rounded to bf16 once more
        assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.02
    elif name == "isaac" and device == "cuda":  # library products of other strides
        assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-4)
    else:
        assert torch.equal(found[0], found[1])
    assert counts[0].counts.keys() == counts[1].counts.keys()
    assert not any(m.expert == UNVISITED for m in counts[0].counts)
    for matrix, mine in counts[0]:
        assert mine == counts[1].counts[matrix]


def test_no_output_or_count_depends_on_how_many_tokens_go_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    compute = TorchCompute("cpu", "fast", 0)
    call = _call(rng, compute.backend.array)
    tile = make_tile(**KERNEL_TILES["offset_read"])
    programmed = _chip(tile, call, compute, rng, trimmed=True)
    # Low-rank terms are library products, which may round by the number of their rows.
    correction = replace(_corrections(call, rng), low_rank={})
    found, counts = [], []
    for visits in (1 << 15, 3 * TOP_K, 1):
        monkeypatch.setattr(detailed_experts, "_VISITS", visits)
        statistics = MacStatistics()
        digital: Any = SimpleNamespace(backend=_InDetail(compute))
        linear: Any = AnalogLinear(programmed, digital, 4, "detailed", frozenset(), statistics)
        linear = CorrectedLinear(linear, correction, compute.backend)
        found.append(linear.serve_experts(call)[0])
        counts.append(dict(statistics))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert counts[0] == counts[1] == counts[2]


def test_visits_of_a_token_are_summed_with_its_experts_rising() -> None:
    experts = np.array([[4, 0], [2, 4], [1, 3]], dtype=np.int16)
    gates = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], dtype=np.float32)
    rows = Sorted.of(experts, gates, [0, 2, 4], torch.device("cpu"))
    assert rows.token.tolist() == [0, 1, 0, 1]
    assert rows.spans == ((0, 1), (1, 2), (2, 4))
    assert rows.place[:2].tolist() == [[0, 2], [1, 3]]
    assert rows.gates.tolist() == [
        [np.float32(0.2), np.float32(0.1)], [np.float32(0.3), np.float32(0.4)], [0.0, 0.0]
    ]  # fmt: skip
    y = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    assert rows.sum(y).flatten().tolist() == pytest.approx([10.2, 403.0, 0.0])


@runs
@pytest.mark.gpu
@pytest.mark.parametrize(
    "name", ["offset", "offset_read", "charge", "shift", "systematic", "isaac", "isaac_errors"]
)
def test_a_launch_of_several_matrices_gives_what_each_gives_alone(name: str) -> None:
    pytest.importorskip("triton")
    from cimsim.backends.torch.fused import Block, FusedTile
    from cimsim.backends.torch.fused_group import FusedGroup

    device = "cpu" if INTERPRETED else "cuda"
    block = Block(tokens=16, outputs=64, native=False) if INTERPRETED else None
    n_in, n_out, spans = (200, 64, ((0, 3), (3, 3), (3, 24)))
    if not INTERPRETED:
        n_in, n_out, spans = 600, 192, ((0, 70), (70, 70), (70, 400))
    rng, tile = np.random.default_rng(7), make_tile(**KERNEL_TILES[name])
    tiles = []
    for expert in range(len(spans)):
        weight, matrix = normal(rng, n_in, n_out), MatrixId(1, "up", expert)
        adc_range = calibrate_range(weight, matrix, tile, normal(rng, 40, n_in))
        programmed = program_matrix(weight, tile, Writing(3, matrix), adc_range)
        draws = programmed.conversion.has_fresh_noise
        pool = NoisePool.draw(1, device, 14) if draws else None
        tiles.append(FusedTile(programmed, device=device, precision="fast", pool=pool, block=block))
    assert all(each.joins(tiles[0]) for each in tiles)
    n = spans[-1][1]
    x = torch.from_numpy(normal(rng, n, n_in)).to(device)
    keys = TokenKeys(rng.integers(0, 50, n), rng.integers(0, 4000, n))
    tokens, clipped = tokens_of(keys, device), torch.zeros((2, 3), dtype=torch.int64, device=device)
    group = FusedGroup(tiles, 5)
    fed = group.feed(x)
    ours, codes = group.multiply(fed, tokens, spans, clipped[0]), group.code_sums(fed)
    for i, (each, (start, end)) in enumerate(zip(tiles, spans, strict=True)):
        some = slice(start, end)
        theirs = each.multiply(
            x[some], (tokens[0][some], tokens[1][some]), read_seed=5, clipped=clipped[1, i]
        )
        if each.units is None or INTERPRETED:
            assert torch.equal(ours[some], theirs)
        else:  # library products of other strides
            assert torch.allclose(ours[some], theirs, rtol=1e-4, atol=1e-4)
        assert int(codes[some].sum()) == int(each.code_sum(x[some]))
    assert torch.equal(clipped[0], clipped[1])
    # A device without room lets go of tiles that were read; their cells are still to be read.
    alive = [weakref.ref(each.kernel.cells) for each in tiles]
    del tiles, each
    gc.collect()
    assert all(ref() is not None for ref in alive)
    assert torch.equal(group.multiply(fed, tokens, spans), ours)


@runs
@pytest.mark.gpu
def test_matrices_with_scales_of_their_own_are_not_read_in_one_launch() -> None:
    pytest.importorskip("triton")
    from cimsim.backends.torch.fused import Block, FusedTile

    device = "cpu" if INTERPRETED else "cuda"
    block = Block(tokens=16, outputs=64, native=False) if INTERPRETED else None
    rng = np.random.default_rng(8)
    sections = {**KERNEL_TILES["offset"], "input": {"scale": "static"}}
    tile, weight, matrix = make_tile(**sections), normal(rng, 200, 64), MatrixId(1, "up", 0)
    adc_range = calibrate_range(weight, matrix, tile, normal(rng, 40, 200))
    programmed = program_matrix(weight, tile, Writing(3, matrix), adc_range)
    fused = FusedTile(programmed, device=device, precision="fast", block=block)
    assert not fused.joins(fused)
