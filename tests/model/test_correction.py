"""Corrections: each step by hand, identity bit for bit, costs, files and refusals."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cimsim.errors import CimsimError
from cimsim.model import (
    Checkpoint,
    ColumnCorrection,
    ColumnTrim,
    Correction,
    Decoder,
    FloatLinear,
    LowRank,
    QuantileMap,
    Replica,
    RouterRefit,
    SlotRewrite,
    digital_ops_per_token,
    identity,
    load_correction,
    rewritten_matrices,
    save_correction,
)
from cimsim.model.router_correction import CopyGroup, RouterCorrection
from cimsim.workload.matrix import MatrixId, TokenKeys

KEYS = TokenKeys(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
N_EXPERTS, TOP_K, D = 11, 3, 48  # of the DeepSeek-MoE checkpoint, whose layer 0 is dense


def f32(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float32)


@pytest.fixture
def checkpoint(checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    return checkpoints["deepseek"]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def full(model_hash: str) -> Correction:
    """Return a correction that uses every field."""
    knots = np.sort(normal(5, N_EXPERTS, 5), axis=1)
    return Correction(
        method="everything",
        model_hash=model_hash,
        chip_hash="chip",
        router_scale={2: normal(1, N_EXPERTS), 1: normal(2, N_EXPERTS)},
        router_offset={1: normal(3, N_EXPERTS)},
        router_quantiles={2: QuantileMap(knots, knots + 1)},
        router_clamp={1: 1.5},
        router_margin={2: 0.25},
        router_refit={
            1: RouterRefit(normal(6, D, N_EXPERTS), "digital"),
            2: RouterRefit(normal(7, D, N_EXPERTS), "reprogrammed"),
        },
        trims={MatrixId(0, "k"): ColumnTrim(normal(14, 2, D), normal(15, 2, D))},
        columns={MatrixId(0, "q"): ColumnCorrection(normal(8, D), normal(9, D))},
        low_rank={MatrixId(1, "down", 4): LowRank(normal(10, 20, 2), normal(11, 2, D))},
        norm_gain={(0, "attention"): normal(12, D), (3, "final"): normal(13, D)},
        clip_lsb=2.0,
        rewrites=(SlotRewrite(1, 3, 5), SlotRewrite(2, 0, 1, copy_router=True, sharing="average")),
        replicas=(Replica(1, 6, 3),),
        offload_parts=("head",),
        offload_experts=((1, 7), (2, 8)),
    )


def nll(checkpoint: Checkpoint, windows: np.ndarray, correction: Correction | None) -> np.ndarray:
    decoder, linear = Decoder(checkpoint), FloatLinear(checkpoint)
    sequences = np.arange(len(windows))
    return decoder.score(windows, linear, sequences=sequences, correction=correction).nll


def made(checkpoint: Checkpoint, **steps: Any) -> Correction:
    return Correction("test", checkpoint.hash, "chip", **steps)


def test_affine_scales_then_shifts() -> None:
    correction = RouterCorrection(scale=f32(2, 3)[0], offset=f32(1, -1)[0])
    np.testing.assert_array_equal(correction.apply(f32(1, 10), 1), [[3, 29]])


def test_quantile_map_interpolates_and_goes_on_with_slope_one() -> None:
    maps = QuantileMap(x=np.array([[0, 1, 3]], np.float32), y=np.array([[10, 10, 14]], np.float32))
    z = np.array([[-2], [0.5], [1], [2], [3], [5]], dtype=np.float32)
    np.testing.assert_allclose(maps.apply(z)[:, 0], [8, 10, 10, 12, 14, 16])


def test_clamp_bounds_logits_by_quartiles() -> None:
    # Quartiles of 0..8 are 2 and 6, so lambda = 0.25 allows 1 to 7.
    z = f32(0, 1, 2, 3, 4, 5, 6, 7, 8)
    found = RouterCorrection(clamp=0.25).apply(z, 2)
    np.testing.assert_array_equal(found, f32(1, 1, 2, 3, 4, 5, 6, 7, 7))


def test_margin_moves_the_chosen_up_and_the_others_down() -> None:
    z = f32(0, 2, 4, 6, 8)
    np.testing.assert_array_equal(RouterCorrection(margin=0.5).apply(z, 2), f32(-2, 0, 2, 8, 10))


def test_margin_leaves_the_choice_of_experts_unchanged(
    checkpoint: Checkpoint, windows: np.ndarray
) -> None:
    decoder, linear = Decoder(checkpoint), FloatLinear(checkpoint)
    clean = decoder.score(windows, linear, sequences=np.arange(5))
    correction = made(checkpoint, router_margin={2: 0.7})
    margin = decoder.score(windows, linear, sequences=np.arange(5), correction=correction)
    np.testing.assert_array_equal(clean.experts, margin.experts)
    assert not np.array_equal(clean.gates, margin.gates)


def test_split_copies_take_turns_and_share_one_row() -> None:
    group = RouterCorrection(copies=(CopyGroup((1, 0, 3), "split"),))
    z = group.apply(np.tile(f32(5, 2, 1, 7), (4, 1)), 2)
    np.testing.assert_array_equal(z, np.tile(f32(-np.inf, 2, 1, -np.inf), (4, 1)))
    experts = np.tile(np.array([[1, 2]], dtype=np.int16), (4, 1))
    found = group.assign_copies(experts, KEYS)
    np.testing.assert_array_equal(found, [[1, 2], [0, 2], [0, 2], [3, 2]])
    assert found.dtype == np.int16


def test_averaged_copies_are_visited_at_the_source() -> None:
    group = RouterCorrection(copies=(CopyGroup((1, 0), "average"),))
    np.testing.assert_array_equal(group.apply(f32(5, 2, 1), 2), f32(-np.inf, 2, 1))
    experts = np.array([[1, 2]] * 4, dtype=np.int16)
    np.testing.assert_array_equal(group.assign_copies(experts, KEYS), experts)


def test_competing_copies_have_equal_logits() -> None:
    group = RouterCorrection(copies=(CopyGroup((1, 0), "both"),))
    np.testing.assert_array_equal(group.apply(f32(5, 2, 1), 2), f32(2, 2, 1))


@pytest.mark.parametrize("sharing", ["split", "average", "both"])
def test_a_copied_expert_runs_in_the_decoder(
    sharing: Any, checkpoint: Checkpoint, windows: np.ndarray
) -> None:
    decoder, linear = Decoder(checkpoint), FloatLinear(checkpoint)
    clean = decoder.score(windows, linear, sequences=np.arange(5))
    load = clean.trace.load()[0]
    source, slot = int(load.argmax()), int(load.argmin())
    rewrite = SlotRewrite(1, slot, source, copy_router=True, sharing=sharing)
    correction = made(checkpoint, rewrites=(rewrite,))
    result = decoder.score(windows, linear, sequences=np.arange(5), correction=correction)
    found = result.trace.load()[0]
    assert found.sum() == load.sum()
    if sharing == "average":
        assert found[slot] == 0
    elif sharing == "split":
        assert abs(int(found[slot]) - int(found[source])) < 0.3 * found[source]
        experts = result.experts[:, 0]
        both = (experts == slot).any(axis=1) & (experts == source).any(axis=1)
        assert not both.any()
    else:
        # Equal logits: whoever chooses the higher slot has chosen the lower one before.
        experts = result.experts[:, 0]
        lower, higher = ((experts == f(slot, source)).any(axis=1) for f in (min, max))
        assert lower[higher].all()
        assert higher.any()


def test_the_identity_changes_no_bit(checkpoint: Checkpoint, windows: np.ndarray) -> None:
    correction = identity(checkpoint.hash, "chip")
    assert correction.is_identity
    clean = nll(checkpoint, windows, None)
    assert nll(checkpoint, windows, correction).tobytes() == clean.tobytes()


def test_each_step_makes_a_correction_that_is_not_the_identity() -> None:
    whole = full("model")
    for name in Correction.__dataclass_fields__:
        if name not in ("method", "model_hash", "chip_hash"):
            step = replace(identity("model", "chip"), **{name: getattr(whole, name)})
            assert not step.is_identity, name


def test_each_applied_step_moves_the_loss(checkpoint: Checkpoint, windows: np.ndarray) -> None:
    whole = full(checkpoint.hash)
    clean = nll(checkpoint, windows, None)
    for name in ("router_scale", "router_offset", "router_quantiles", "router_clamp",
                 "router_margin", "columns", "low_rank", "norm_gain"):  # fmt: skip
        step = made(checkpoint, **{name: getattr(whole, name)})
        assert not np.array_equal(nll(checkpoint, windows, step), clean), name


def test_a_digital_refit_replaces_the_product_of_the_router(
    checkpoint: Checkpoint, windows: np.ndarray
) -> None:
    exact = checkpoint.matrix(MatrixId(1, "router"))
    same = made(checkpoint, router_refit={1: RouterRefit(exact, "digital")})
    linear = FloatLinear(checkpoint)

    def noisy(matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        y = linear(matrix, x, tokens)
        return -y if matrix == MatrixId(1, "router") else y

    found = Decoder(checkpoint).score(windows, noisy, sequences=np.arange(5), correction=same).nll
    assert found.tobytes() == nll(checkpoint, windows, None).tobytes()


def test_a_reprogrammed_refit_is_left_to_the_chip(
    checkpoint: Checkpoint, windows: np.ndarray
) -> None:
    weight = normal(0, D, N_EXPERTS)
    correction = made(checkpoint, router_refit={1: RouterRefit(weight, "reprogrammed")})
    clean = nll(checkpoint, windows, None)
    assert nll(checkpoint, windows, correction).tobytes() == clean.tobytes()


def test_columns_and_low_rank_undo_a_known_error(
    checkpoint: Checkpoint, windows: np.ndarray
) -> None:
    matrix, linear = MatrixId(1, "up", 4), FloatLinear(checkpoint)
    u, v = 0.1 * normal(1, D, 2), normal(2, 2, 20)
    scale, offset = 1.5 + 0.1 * normal(3, 20), normal(4, 20)

    def distorted(m: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
        y = linear(m, x, tokens)
        return (y - offset) / scale - (x @ u) @ v if m == matrix else y

    correction = made(
        checkpoint,
        columns={matrix: ColumnCorrection(scale, offset)},
        low_rank={matrix: LowRank(u, v)},
    )
    decoder, sequences = Decoder(checkpoint), np.arange(5)
    clean = nll(checkpoint, windows, None)
    wrong = decoder.score(windows, distorted, sequences=sequences).nll
    mended = decoder.score(windows, distorted, sequences=sequences, correction=correction).nll
    assert np.abs(wrong - clean).max() > 1e-2
    np.testing.assert_allclose(mended, clean, atol=1e-4)


def test_norm_gains_multiply_and_two_halves_cancel(
    checkpoint: Checkpoint, windows: np.ndarray
) -> None:
    double = np.full(D, 2.0, dtype=np.float32)
    half_columns = ColumnCorrection(np.full(199, 0.5, np.float32), np.zeros(199, np.float32))
    correction = made(
        checkpoint,
        norm_gain={(3, "final"): double},
        columns={MatrixId(3, "head"): half_columns},
    )
    clean = nll(checkpoint, windows, None)
    np.testing.assert_allclose(nll(checkpoint, windows, correction), clean, rtol=1e-12)


def test_arrays_are_private_and_read_only() -> None:
    offset = normal(0, N_EXPERTS)
    correction = Correction("test", "m", "c", router_offset={1: offset})
    digest = correction.digest()
    offset[0] += 1
    assert correction.digest() == digest
    with pytest.raises(ValueError, match="read-only"):
        correction.router_offset[1][0] = 0
    with pytest.raises(TypeError):
        correction.router_offset[2] = offset  # type: ignore[index]


def test_the_digest_does_not_depend_on_insertion_order_and_sees_every_field() -> None:
    a, b = normal(1, N_EXPERTS), normal(2, N_EXPERTS)
    first = Correction("test", "m", "c", router_offset={1: a, 2: b})
    second = Correction("test", "m", "c", router_offset={2: b, 1: a})
    assert first.digest() == second.digest()
    assert first.same_as(second)
    assert not first.same_as(Correction("test", "m", "c", router_offset={1: a, 2: -b}))
    assert not first.same_as(Correction("test", "m", "c", router_offset={1: a, 2: b[:-1]}))
    whole, empty = full("model"), identity("model", "chip", "everything")
    digests = {whole.digest(), empty.digest()}
    steps = [n for n in Correction.__dataclass_fields__ if n != "method"]
    for name in steps:
        value = "other" if name.endswith("hash") else getattr(empty, name)
        other = replace(whole, **{name: value})
        digests.add(other.digest())
        assert not other.same_as(whole)
        assert not whole.same_as(other)
    assert whole.same_as(full("model"))
    assert len(digests) == len(steps) + 2


def test_a_correction_survives_its_file_and_the_bytes_repeat(tmp_path: Path) -> None:
    correction = full("model")
    save_correction(correction, tmp_path / "a.safetensors")
    save_correction(correction, tmp_path / "b.safetensors")
    loaded = load_correction(tmp_path / "a.safetensors")
    assert loaded.digest() == correction.digest()
    assert loaded.rewrites == correction.rewrites
    assert loaded.norm_gain.keys() == correction.norm_gain.keys()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_a_correction_travels_to_another_process() -> None:
    correction = full("model")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(Correction.digest, correction).result() == correction.digest()
    copy = deepcopy(correction)
    assert copy.digest() == correction.digest()
    assert not copy.router_offset[1].flags.writeable


def test_an_identity_survives_its_file(tmp_path: Path) -> None:
    save_correction(identity("model", "chip"), tmp_path / "i.safetensors")
    assert load_correction(tmp_path / "i.safetensors").is_identity


def test_files_that_are_no_corrections_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="not found"):
        load_correction(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CimsimError, match="damaged"):
        load_correction(tmp_path / "text")
    save_file({"a": np.zeros(1)}, tmp_path / "other")
    with pytest.raises(CimsimError, match="not a correction"):
        load_correction(tmp_path / "other")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("replicas", [{"layer": 0, "expert": 1, "copies": 2.5, "part": "experts"}]),
        ("replicas", [{"layer": 0, "expert": 1, "copies": 10**9, "part": "experts"}]),
        ("replicas", [{"layer": 0, "expert": 1, "copies": float("nan"), "part": "experts"}]),
        ("replicas", [{"layer": 0, "expert": 1, "copies": 2, "part": "kitchen"}]),
        ("rewrites", [{"layer": 0, "slot": 0, "source": 1, "copy_router": 1, "sharing": "split"}]),
        ("rewrites", [{"layer": 0, "slot": 0, "source": 1, "copy_router": True, "sharing": "x"}]),
        ("offload_parts", ["kitchen"]),
        ("offload_experts", [[0, 1, 2]]),
        ("router_clamp", {"0": float("inf")}),
        ("router_clamp", {"zero": 1.0}),
        ("unknown", 1),
        ("method", "x" * 1000),
        ("method", ["deep"] * 2),
    ],
)
def test_a_correction_says_numbers_and_names_that_are_known(
    key: str, value: object, tmp_path: Path
) -> None:
    content = {"version": 1, "digest": "", **full("model").metadata(), key: value}
    metadata = {"cimsim_correction": json.dumps(content)}
    save_file(dict(full("model").tensors()), tmp_path / "c", metadata)
    with pytest.raises(CimsimError, match="not a correction, or a damaged one"):
        load_correction(tmp_path / "c")
    metadata = {"cimsim_correction": "[" * 100_000}
    save_file(dict(full("model").tensors()), tmp_path / "c", metadata)
    with pytest.raises(CimsimError, match="not a correction, or a damaged one"):
        load_correction(tmp_path / "c")


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_correction_may_be_read_by_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        save_correction(identity("model", "chip"), tmp_path / "c")
    finally:
        os.umask(before)
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_changed_byte_in_a_file_is_noticed(tmp_path: Path) -> None:
    save_correction(full("model"), tmp_path / "c")
    data = bytearray((tmp_path / "c").read_bytes())
    data[-3] ^= 1
    (tmp_path / "c").write_bytes(bytes(data))
    with pytest.raises(CimsimError, match="digest"):
        load_correction(tmp_path / "c")


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="cannot be written"):
        save_correction(identity("m", "c"), tmp_path / "no" / "folder.safetensors")


WRONG = np.ones(4, dtype=np.float32)
GOOD = np.ones(N_EXPERTS, dtype=np.float32)
KNOTS = np.zeros((N_EXPERTS, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ({"router_scale": {1: WRONG}}, "does not fit"),
        ({"router_offset": {0: GOOD}}, "without a router"),
        ({"router_offset": {1: GOOD * np.nan}}, "not finite"),
        ({"router_quantiles": {1: QuantileMap(KNOTS, KNOTS)}}, "not monotone"),
        ({"router_clamp": {1: -1.0}}, "lambda"),
        ({"router_margin": {9: 1.0}}, "without a router"),
        ({"router_refit": {1: RouterRefit(KNOTS, "digital")}}, "does not fit"),
        ({"columns": {MatrixId(9, "q"): ColumnCorrection(WRONG, WRONG)}}, "not in the model"),
        ({"columns": {MatrixId(0, "q"): ColumnCorrection(WRONG, WRONG)}}, "does not fit"),
        ({"trims": {MatrixId(0, "q"): ColumnTrim(WRONG[None], WRONG[None])}}, "does not fit"),
        ({"low_rank": {MatrixId(0, "q"): LowRank(KNOTS, KNOTS)}}, "does not fit"),
        ({"norm_gain": {(0, "final"): GOOD}}, "norm"),
        ({"norm_gain": {(0, "block"): GOOD}}, "does not fit"),
        ({"rewrites": (SlotRewrite(1, 2, 2),)}, "another expert"),
        ({"rewrites": (SlotRewrite(1, 2, 11),)}, "0 to 10"),
        ({"rewrites": (SlotRewrite(1, 2, 3), SlotRewrite(1, 2, 4))}, "once"),
        ({"rewrites": (SlotRewrite(1, 2, 3), SlotRewrite(1, 3, 4))}, "itself rewritten"),
        (
            {"rewrites": tuple(SlotRewrite(1, s, 0, copy_router=True) for s in range(1, 10))},
            "fewer",
        ),
        (
            {
                "rewrites": (
                    SlotRewrite(1, 2, 0, copy_router=True, sharing="split"),
                    SlotRewrite(1, 3, 0, copy_router=True, sharing="both"),
                )
            },
            "one way",
        ),
        ({"replicas": (Replica(1, 11, 2),)}, "not there"),
        ({"replicas": (Replica(1, 1, 1),)}, "at least 2"),
        ({"offload_experts": ((0, 1),)}, "without a router"),
    ],
)
def test_corrections_that_do_not_fit_are_refused(
    steps: dict[str, Any], why: str, checkpoint: Checkpoint
) -> None:
    with pytest.raises(CimsimError, match=why):
        Decoder(checkpoint).interpreter(
            FloatLinear(checkpoint), correction=made(checkpoint, **steps)
        )


def test_a_correction_for_another_model_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(CimsimError, match="another model"):
        Decoder(checkpoint).interpreter(
            FloatLinear(checkpoint), correction=identity("0" * 64, "chip")
        )


def test_digital_operations_by_hand(checkpoint: Checkpoint) -> None:
    whole = full(checkpoint.hash)
    found = digital_ops_per_token(whole, checkpoint.program)
    share = TOP_K / N_EXPERTS
    assert found.macs == pytest.approx(D * N_EXPERTS + share * (20 * 2 + 2 * D))
    affine = 3 * N_EXPERTS
    sorts = 2 * N_EXPERTS * (4 + 2)  # ceil(log2 11) = 4
    quantiles = N_EXPERTS * (3 + 2)  # ceil(log2 5) = 3
    copies, columns, low_rank = 1, 2 * (D + D), share * D  # a trim costs what columns do
    averaged = share * 2 * (20 + 20 + D)  # two further copies of gate, up and down
    digital = affine + sorts + quantiles + copies + columns + low_rank + averaged
    assert found.elements == pytest.approx(digital)
    load = {1: np.zeros(N_EXPERTS)}
    assert digital_ops_per_token(whole, checkpoint.program, load).macs == D * N_EXPERTS


def test_rewritten_matrices_are_slots_routers_and_further_copies(checkpoint: Checkpoint) -> None:
    whole, program = full(checkpoint.hash), checkpoint.program
    expert = 3 * D * 20
    found = rewritten_matrices(replace(whole, clip_lsb=0.0), program)
    assert sum(m.size for m in found) == 2 * expert + D * N_EXPERTS + 2 * expert
    assert len(found) == 3 * 2 + 1 + 3 * 2
    assert not rewritten_matrices(identity("m", "c"), program)
    # Where columns are clipped, the whole model is written once more before all of these.
    assert rewritten_matrices(whole, program) == [*program.matrices(), *found]
