"""Experts of a layer read together: equal to one at a time, and kernels equal to their twin."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cimsim.backends.torch.compute import TorchCompute
from cimsim.backends.torch.copies import TorchCopy
from cimsim.backends.torch.device_cells import DeviceCells, writes_on_device
from cimsim.backends.torch.experts import FoldedExperts, Terms, TwinExperts, Visits, folded_normals
from cimsim.backends.torch.forms import Forms
from cimsim.backends.torch.grouped_product import grouped_product
from cimsim.backends.torch.memory import Kept
from cimsim.backends.torch.order import Order
from cimsim.backends.torch.stack import FoldedStack, write_stack
from cimsim.config.load import find_chip, load_chip
from cimsim.mac import MacStatistics, Writing, calibrate_range
from cimsim.model import ColumnCorrection, GivenWeight, LowRank, Registers, identity
from cimsim.model.corrected_linear import CorrectedLinear
from cimsim.model.linear import ExpertCall
from cimsim.model.routing import Routing
from cimsim.stages.linear import AnalogLinear
from cimsim.stages.trimmed import TrimmedCopy
from cimsim.workload.matrix import Matrix, MatrixId, TokenKeys
from tests.backends.helpers import KERNEL_TILES
from tests.mac.helpers import make_tile, normal

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available()
CPU = torch.device("cpu")
D_MODEL, WIDTH, EXPERTS, TOP_K, TOKENS = 64, 48, 5, 2, 12
runs = pytest.mark.skipif(not (INTERPRETED or ON_GPU), reason="no CUDA device: make test-gpu")


def _orders(tile: Any, device: torch.device, wide: int = 1) -> list[list[Order]]:
    """Gate, up and down of some experts; inputs and outputs `wide` times as many."""
    rng = np.random.default_rng(2)
    shapes = {
        "gate": (wide * D_MODEL, wide * WIDTH),
        "up": (wide * D_MODEL, wide * WIDTH),
        "down": (wide * WIDTH, wide * D_MODEL),
    }
    found = []
    for role, (n_in, n_out) in shapes.items():
        some = normal(rng, 40, n_in)
        for expert in range(EXPERTS):
            weight, matrix = normal(rng, n_in, n_out), MatrixId(1, role, expert)
            writer = writes_on_device(tile, Writing(3, matrix), n_in, n_out)
            assert writer is not None
            found.append(
                Order(GivenWeight(weight), writer, calibrate_range(weight, matrix, tile, some),
                      device)
            )  # fmt: skip
    return [found[first : first + EXPERTS] for first in range(0, 3 * EXPERTS, EXPERTS)]


EFLASH = load_chip(find_chip("eflash_40nm"), ("tile.adc.bits=12",)).tile
SLICED = load_chip(
    find_chip("isaac"), ("tile.weight.encoding=offset", "tile.crossbar.cols=128")
).tile


COMPLEMENTS = load_chip(find_chip("isaac"), ()).tile


def _of_rows(tile: Any, rows: int) -> Any:
    """The tile with crossbars of so many rows, so that matrices have several row groups."""
    crossbar = tile.crossbar.model_copy(update={"rows": rows})
    return tile.model_copy(update={"crossbar": crossbar})


@pytest.mark.parametrize("rows", [None, 16, 40], ids=["one_group", "equal_groups", "unequal"])
@pytest.mark.parametrize("name", ["eflash", "sliced", "isaac"])
def test_a_stack_is_what_each_matrix_folds_to(name: str, rows: int | None) -> None:
    tile = {"eflash": EFLASH, "sliced": SLICED, "isaac": COMPLEMENTS}[name]
    tile = tile if rows is None else _of_rows(tile, rows)
    for orders in _orders(tile, CPU):
        stack = write_stack(orders)
        for e, order in enumerate(orders):
            cells = DeviceCells.write(order.stored(), order.writer, order.adc_range, {})
            folded, held = cells.fold(), cells.held
            scale = held.column_scale.double()
            effective = folded.values * folded.grid + held.coefficient
            same = held.formats.input_shift * effective.sum(0) - held.shift_share
            theirs = (effective * scale).T.float()
            assert float((stack.weight[e].float() - theirs).norm() / theirs.norm()) < 3e-3
            assert torch.allclose(stack.bias[e], (same * scale).float(), rtol=1e-4, atol=1e-3)
            spread = (folded.variance.sqrt() * scale).float()
            assert torch.allclose(stack.spread[e], spread, rtol=1e-5)
            assert stack.level[e] == pytest.approx(cells.mean_fraction, rel=1e-5)
            assert stack.faithful[e] == (cells.folded() is not None)


def test_a_matrix_that_rounds_too_much_is_not_faithful() -> None:
    knobs = ("tile.adc.bits=4", "tile.adc.range={kind: full}")
    tile = load_chip(find_chip("eflash_40nm"), knobs).tile
    orders = _orders(tile, CPU)[0]
    alike = [
        DeviceCells.write(o.stored(), o.writer, o.adc_range, {}).folded() is not None
        for o in orders
    ]
    assert list(write_stack(orders).faithful) == alike
    assert not all(alike)


def _call(x: Tensor, rng: np.random.Generator) -> tuple[ExpertCall, TokenKeys]:
    keys = TokenKeys(rng.integers(0, 9, len(x)), rng.integers(0, 300, len(x)))
    experts = np.argsort(rng.random((len(x), EXPERTS)), axis=1)[:, :TOP_K].astype(np.int16)
    gates = rng.random((len(x), TOP_K)).astype(np.float32)
    matrices = tuple(
        (
            Matrix(MatrixId(1, "gate", e), D_MODEL, WIDTH),
            Matrix(MatrixId(1, "up", e), D_MODEL, WIDTH),
            Matrix(MatrixId(1, "down", e), WIDTH, D_MODEL),
        )
        for e in range(EXPERTS)
    )
    routing = Routing(experts, gates, np.zeros((len(x), 0), dtype=np.float32))
    return ExpertCall(1, matrices, x.numpy(), keys, routing), keys


def test_experts_together_give_what_each_gives_alone() -> None:
    rng = np.random.default_rng(0)
    compute = TorchCompute("cpu", "fast", 0)
    call, keys = _call(torch.from_numpy(normal(rng, TOKENS, D_MODEL)), rng)
    call = ExpertCall(1, call.experts, compute.backend.array(call.x), keys, call.routing)
    copies = {}
    for e in range(EXPERTS):
        three = []
        for matrix in call.experts[e]:
            weight = normal(rng, matrix.n_in, matrix.n_out)
            found = calibrate_range(weight, matrix.id, EFLASH, normal(rng, 40, matrix.n_in))
            three.append(compute.write(GivenWeight(weight), EFLASH, Writing(1, matrix.id), found))
        copies[e] = tuple(three)
    counts, alone = MacStatistics(), MacStatistics()
    found = compute.backend.join_experts(
        copies, call, read_seed=4, mode="folded", statistics=counts
    )
    assert found is not None
    assert found[1] == set(range(EXPERTS))
    total = torch.zeros_like(found[0])
    for e in range(EXPERTS):
        rows = np.flatnonzero((call.routing.experts == e).any(1))
        some = TokenKeys(keys.sequence[rows], keys.position[rows])
        how: dict[str, Any] = {"read_seed": 4, "mode": "folded", "replica": 0, "statistics": alone}
        gate, up, down = copies[e]
        assert isinstance(gate, TorchCopy)
        x = torch.as_tensor(call.x)[rows]
        hidden = torch.nn.functional.silu(gate.multiply(x, some, **how))
        y = down.multiply(hidden * up.multiply(x, some, **how), some, **how)
        share = (call.routing.gates * (call.routing.experts == e)).sum(1)[rows]
        total[rows] += y * torch.from_numpy(share)[:, None]
    # Sums are rounded to bf16 once more, and a code on the border of two falls to either.
    assert float((found[0] - total).norm() / total.norm()) < 0.02
    assert counts.counts.keys() == alone.counts.keys()
    for matrix, mine in counts:
        assert mine == alone.counts[matrix]


@pytest.mark.parametrize("corrected", [False, True])
def test_experts_behind_trim_registers_are_read_together_too(corrected: bool) -> None:
    rng = np.random.default_rng(0)
    compute = TorchCompute("cpu", "fast", 0)
    array = compute.backend.array
    call, keys = _call(torch.from_numpy(normal(rng, TOKENS, D_MODEL)), rng)
    call = ExpertCall(1, call.experts, array(call.x), keys, call.routing)
    programmed, columns, low_rank = {}, {}, {}
    for e, three in enumerate(call.experts):
        for role, matrix in enumerate(three):
            weight, n_out = normal(rng, matrix.n_in, matrix.n_out), matrix.n_out
            found = calibrate_range(weight, matrix.id, EFLASH, normal(rng, 40, matrix.n_in))
            copy = compute.write(GivenWeight(weight), EFLASH, Writing(1, matrix.id), found)
            if (e, role) != (2, 1):  # one that has none, and one that is dead
                gain = 1.0 + 0.2 * normal(rng, n_out)
                gain[3] = 0.0
                both = array(gain), array(0.3 * normal(rng, n_out))
                copy = TrimmedCopy(copy, Registers(*both, None), compute.backend)
            programmed[matrix.id] = (copy,)
            columns[matrix.id] = ColumnCorrection(
                1.0 + 0.1 * normal(rng, n_out), normal(rng, n_out)
            )
        last = three[2]
        low_rank[last.id] = LowRank(
            0.1 * normal(rng, last.n_in, 2), 0.1 * normal(rng, 2, last.n_out)
        )
    digital: Any = SimpleNamespace(backend=compute.backend)
    linear: Any = AnalogLinear(programmed, digital, 4, "folded")
    if corrected:
        correction = replace(identity("m", "c"), columns=columns, low_rank=low_rank)
        linear = CorrectedLinear(linear, correction, compute.backend)
    found = linear.serve_experts(call)
    assert found is not None
    assert found[1] == set(range(EXPERTS))
    total = torch.zeros_like(found[0])
    for e, (gate, up, down) in enumerate(call.experts):
        rows = np.flatnonzero((call.routing.experts == e).any(1))
        some = TokenKeys(keys.sequence[rows], keys.position[rows])
        x = torch.as_tensor(call.x)[rows]
        hidden = torch.nn.functional.silu(linear(gate.id, x, some)) * linear(up.id, x, some)
        share = (call.routing.gates * (call.routing.experts == e)).sum(1)[rows]
        total[rows] += linear(down.id, hidden, some) * torch.from_numpy(share)[:, None]
    assert float((found[0] - total).norm() / total.norm()) < 0.02


def _experts(orders: list[list[Order]], kind: type[FoldedExperts], **more: Any) -> FoldedExperts:
    gates, ups, down = (write_stack(some) for some in orders)
    weight = torch.cat([gates.weight, ups.weight], 1)
    first: FoldedStack = gates.above(ups, weight)
    levels = list(zip(gates.level, ups.level, down.level, strict=True))
    return kind(first, list(zip(gates.words, ups.words, strict=True)), down, levels, **more)


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("corrected", ["plain", "corrected", "trimmed"])
@pytest.mark.parametrize("tile", [EFLASH, SLICED], ids=["eflash", "sliced"])
def test_grouped_kernels_are_those_of_their_twin(tile: Any, corrected: str) -> None:
    pytest.importorskip("triton")
    from cimsim.backends.torch.fused_experts import FusedExperts

    device = CPU if INTERPRETED else torch.device("cuda")
    wide = 1 if INTERPRETED else 3
    rng = np.random.default_rng(1)
    orders = _orders(tile, device, wide)
    twin = _experts(orders, TwinExperts)
    ours = _experts(orders, FusedExperts, native=not INTERPRETED)
    x = torch.from_numpy(normal(rng, TOKENS * wide, wide * D_MODEL)).to(device)
    call, keys = _call(x.cpu(), rng)
    # Expert 1 is not in the stack of those that are read together.
    chosen = [0, 2, 3, 4, 5][:EXPERTS]
    visits = Visits.of(call.routing.experts, call.routing.gates, chosen, device)
    tokens = tuple(torch.from_numpy(k).to(device) for k in keys)
    terms = Terms()
    if corrected != "plain":

        def some(*shape: int) -> Tensor:
            return 0.1 * torch.from_numpy(normal(rng, *shape)).to(device)

        width, d_model = wide * WIDTH, wide * D_MODEL
        terms = Terms(
            ((1.0 + some(EXPERTS, 2, width), some(EXPERTS, 2, width)),
             (1.0 + some(EXPERTS, d_model), some(EXPERTS, d_model))),
            (some(EXPERTS, width, 3), some(EXPERTS, 3, d_model)),
        )  # fmt: skip
        if corrected == "trimmed":
            terms = replace(terms, trims=terms.columns)
    found = [e.multiply(x, visits, (tokens[0], tokens[1]), terms, read_seed=9)
             for e in (ours, twin)]  # fmt: skip
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.02


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 48])
def test_outputs_of_any_width_have_the_errors_of_their_matrix(width: int, several: bool) -> None:
    # The gate of a shared expert has one; a call of Philox fills four.
    pytest.importorskip("triton")
    from cimsim.backends.torch.fused_experts import finished

    device, rng = CPU if INTERPRETED else torch.device("cuda"), np.random.default_rng(3)
    product, bias, spread, scale = (
        torch.from_numpy(normal(rng, *shape)).to(device)
        for shape in ((TOKENS, width), (3, width), (3, width), (TOKENS,))
    )
    spread, keys = spread.abs(), [(11, 12), (3, 2**32 - 5), (2**31, 7)]
    tokens = torch.arange(TOKENS), torch.arange(TOKENS) + 7
    there = tokens[0].to(device), tokens[1].to(device)
    which = torch.tensor([0, 0, 0, 2, 2, 2, 2, 1, 1, 1, 1, 1] if several else [0] * TOKENS)
    z = torch.stack([folded_normals(width, tokens, key) for key in keys])
    z, which = z[which, torch.arange(TOKENS)].to(device), which.to(device)
    expected = (product + bias[which] + spread[which] * z) * scale[:, None]
    words = ((0, 0, 0),) * 3
    stack = FoldedStack(product, bias, spread, True, words, (0.0,) * 3, (True,) * 3, 127)
    matrix = which.int() if several else None
    found = finished(product.clone(), scale, stack, there, keys, matrix, native=not INTERPRETED)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    halves = finished(product.bfloat16(), scale, stack, there, keys, matrix, native=not INTERPRETED)
    assert halves.dtype == torch.float32
    torch.testing.assert_close(halves, expected, rtol=2e-2, atol=2e-2)


def test_normals_of_folded_outputs_are_normal() -> None:
    place = torch.arange(4000)
    z = folded_normals(32, (place, place + 7), (11, 12)).double()
    assert abs(float(z.mean())) < 0.01
    assert float(z.var()) == pytest.approx(1.0, abs=0.02)
    assert float((z**4).mean()) == pytest.approx(3.0, abs=0.1)
    again = folded_normals(32, (place[5:6], place[5:6] + 7), (11, 12))
    assert torch.equal(again[0].double(), z[5])


def test_a_matrix_of_experts_that_are_kept_together_is_a_part_of_them() -> None:
    gates, ups, downs = _orders(EFLASH, CPU)
    orders = dict(enumerate(zip(gates, ups, downs, strict=True)))
    kept, alone = (Forms(Kept(lambda _held: 10**9)) for _ in range(2))
    _, fold = kept.experts(orders)
    assert fold == list(orders)
    for three in orders.values():
        for order in three:
            part, whole = kept.lone(order), alone.lone(order)
            assert torch.equal(part._stack.weight, whole._stack.weight)
            assert torch.equal(part._stack.bias, whole._stack.bias)
            assert torch.equal(part._stack.spread, whole._stack.spread)
            assert part._stack.words == whole._stack.words
            assert (part.faithful, part.level) == (True, pytest.approx(whole.level))
    assert len(kept.kept._things) == 1


def test_a_matrix_is_kept_alone_and_as_a_stack_of_one() -> None:
    order, forms = _orders(EFLASH, CPU)[0][0], Forms(Kept(lambda _held: 10**9))
    alone, stack = forms.lone(order), forms.stack([order])
    assert torch.equal(stack.weight, alone._stack.weight)
    assert forms.lone(order) is alone
    assert forms.stack([order]) is stack


def test_no_more_forms_are_kept_than_there_is_room_for() -> None:
    orders = _orders(make_tile(**KERNEL_TILES["offset"]), CPU)[0]
    most = [10**9]
    forms = Forms(Kept(lambda _held: most[0]))
    first = forms.lone(orders[0])
    assert forms.lone(Order(orders[0].weight, orders[0].writer, orders[0].adc_range, CPU)) is first
    most[0] = 0
    forms.lone(orders[1])
    again = forms.lone(orders[0])
    assert again is not first
    assert torch.equal(again._stack.weight, first._stack.weight)


@runs
@pytest.mark.gpu
@pytest.mark.parametrize("tile", [EFLASH, SLICED], ids=["eflash", "sliced"])
def test_a_stack_written_by_kernels_is_that_of_plain_torch(tile: Any) -> None:
    if INTERPRETED:
        pytest.skip("the kernels of writing are interpreted in test_torch_kernels")
    there = _orders(tile, torch.device("cuda"), 3)
    for ours, theirs in zip(there, _orders(tile, CPU, 3), strict=True):
        mine, twin = write_stack(ours), write_stack(theirs)
        # The same cells; sums of their slices may round to either side of a bf16.
        far = (mine.weight.cpu().float() - twin.weight.float()).norm()
        assert float(far / twin.weight.float().norm()) < 1e-3
        assert torch.allclose(mine.spread.cpu(), twin.spread)
        assert torch.allclose(mine.bias.cpu(), twin.bias, rtol=1e-4, atol=1e-4)
        assert mine.level == pytest.approx(twin.level)
        assert mine.faithful == twin.faithful


@pytest.mark.parametrize(("n_in", "n_out"), [(32, 16), (28, 16), (32, 13), (28, 13)])
def test_grouped_products_take_widths_that_are_no_multiple_of_sixteen_bytes(
    n_in: int, n_out: int
) -> None:
    x, weight = torch.randn(10, n_in).bfloat16(), torch.randn(3, n_out, n_in).bfloat16()
    ends = torch.tensor([4, 4, 10], dtype=torch.int32)  # the second group has no rows
    found = grouped_product(x, weight, ends)
    assert found.is_contiguous()
    alone = torch.cat([x[:4] @ weight[0].T, x[4:] @ weight[2].T])
    torch.testing.assert_close(found, alone, rtol=2e-2, atol=2e-2)
