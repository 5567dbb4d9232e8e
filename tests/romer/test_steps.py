"""Each calibration step against values worked out by hand on tiny arrays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from romer_bench import ANALOG, Bench

from cimsim.model import Correction, build_program, digital_ops_per_token, identity
from cimsim.model.correction_cost import rewritten_matrices
from cimsim.workload.matrix import MatrixId
from romer.record import RouterRecord
from romer.registry import step_of
from romer.steps import recalibration, replacement, replication
from romer.steps.columns import PRIOR_TOKENS, fit_scale_and_offset
from romer.steps.low_rank import (
    MAC_SHARE,
    fit_reduced_rank,
    least_tokens,
    plan_ranks,
    unfitted_experts,
    unfitted_sentence,
)

NONE = identity("model", "chip")


def routers_of(logits: Any, load: Any = None) -> RouterRecord:
    z = np.asarray(logits, dtype=np.float32)
    share = np.full(z.shape[1], 0.25) if load is None else np.asarray(load, dtype=np.float64)
    return RouterRecord({0: z}, {0: z}, {0: share}, {0: z})


def task_of(clean: RouterRecord, placed: int = 1) -> Any:
    chip = SimpleNamespace(copies=lambda *_: placed)
    return SimpleNamespace(reference=SimpleNamespace(fit=clean), analog=ANALOG, deployment=chip)


def test_r1_clamp_and_r2_margin_state_their_lambda_for_every_router() -> None:
    noisy = routers_of(np.zeros((4, 4)))
    assert recalibration.clamp(None, NONE, lambda: noisy).router_clamp == {0: 1.5}
    assert recalibration.margin(None, NONE, lambda: noisy).router_margin == {0: 0.1}


def test_r4_maps_noisy_median_and_iqr_onto_the_clean_ones() -> None:
    clean = np.arange(9, dtype=np.float32)[:, None] * [1.0, 2.0]
    noisy = clean * 2.0 + 3.0
    out = recalibration.match_percentiles(
        task_of(routers_of(clean)), NONE, lambda: routers_of(noisy)
    )
    # Medians 4 and 8 become 11 and 19; quartile ranges 4 and 8 become 8 and 16.
    assert out.router_scale[0] == pytest.approx([0.5, 0.5])
    assert out.router_offset[0] == pytest.approx([4 - 11 * 0.5, 8 - 19 * 0.5])
    corrected = noisy * out.router_scale[0] + out.router_offset[0]
    assert corrected == pytest.approx(clean, abs=1e-5)


def test_r4_keeps_the_ratio_of_quartile_ranges_within_a_quarter_and_four() -> None:
    """A column that a coarse converter has almost silenced, and one that is far too loud."""
    clean = np.arange(9, dtype=np.float32)[:, None] * [1.0, 1.0, 1.0]
    noisy = np.stack([np.full(9, 3.0), np.arange(9) * 1e-9, np.arange(9) * 100.0], axis=1)
    out = recalibration.match_percentiles(
        task_of(routers_of(clean)), NONE, lambda: routers_of(noisy)
    )
    assert out.router_scale[0] == pytest.approx([4.0, 4.0, 0.25])
    # Medians are met whatever the ratio.
    assert out.router_offset[0] == pytest.approx([4 - 3 * 4.0, 4.0, 4 - 400 * 0.25], abs=1e-5)


def test_r3_bias_lifts_under_used_experts_and_lowers_over_used_ones() -> None:
    logits = np.tile(np.array([0.0, 1.0, 2.0, 3.0]), (5, 1))
    clean = routers_of(logits, [0.25, 0.25, 0.25, 0.25])
    noisy = routers_of(logits, [0.10, 0.25, 0.25, 0.40])
    out = recalibration.load_bias(task_of(clean), NONE, lambda: noisy)
    # Quartiles of 0, 1, 2, 3 are 0.75 and 2.25: IQR 1.5, times lambda 0.05.
    assert out.router_offset[0] == pytest.approx([0.075, 0.0, 0.0, -0.075])


def test_quantile_map_carries_noisy_percentiles_to_clean_ones() -> None:
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((4000, 2)).astype(np.float32)
    noisy = np.sinh(clean) + 1.0
    out = recalibration.quantile_map(
        task_of(routers_of(clean)), NONE, lambda: routers_of(noisy)
    ).router_quantiles[0]
    middle = np.abs(clean).max(axis=1) < 1.5
    assert np.abs(out.apply(noisy) - clean)[middle].max() < 0.06
    assert (np.diff(out.x) > 0).all()
    assert (np.diff(out.y) >= 0).all()


def load_of(*shares: float) -> RouterRecord:
    return routers_of(np.zeros((2, len(shares))), shares)


@pytest.mark.parametrize(
    ("step", "copies_row"),
    [(replacement.rewrite_weights, False), (replacement.copy_weights_and_row, True)],
)
def test_e1_and_e2_rewrite_the_coldest_slot_with_the_hottest_expert(
    step: Any, copies_row: bool
) -> None:
    # Mean 0.25: below a tenth of it is only expert 2.
    noisy = load_of(0.5, 0.3, 0.01, 0.19)
    (rewrite,) = step(task_of(noisy), NONE, lambda: noisy).rewrites
    assert (rewrite.slot, rewrite.source, rewrite.copy_router) == (2, 0, copies_row)


def test_replacement_leaves_a_balanced_model_alone() -> None:
    noisy = load_of(0.3, 0.3, 0.2, 0.2)
    assert replacement.copy_weights_and_row(task_of(noisy), NONE, lambda: noisy) is NONE


def test_replacement_leaves_a_chip_alone_that_switches_experts() -> None:
    noisy = load_of(0.5, 0.3, 0.01, 0.19)
    assert replacement.copy_weights_and_row(task_of(noisy), NONE, lambda: noisy).rewrites
    assert replacement.copy_weights_and_row(task_of(noisy, 0), NONE, lambda: noisy) is NONE


def test_e3_rewrites_one_slot_in_sixteen_whatever_the_load() -> None:
    load = np.linspace(0.2, 0.3, 32)
    noisy = load_of(*load)
    rewrites = replacement.rewrite_fixed_count(task_of(noisy), NONE, lambda: noisy).rewrites
    assert [(r.slot, r.source) for r in rewrites] == [(0, 31), (1, 30)]


def test_columns_undo_scale_and_offset_up_to_the_prior() -> None:
    rng = np.random.default_rng(1)
    target = rng.standard_normal((100_000, 3)).astype(np.float32)
    y = (target - 0.5) / 2.0
    found = fit_scale_and_offset(y.astype(np.float32), target)
    assert found.scale == pytest.approx([2.0] * 3, abs=1e-3)
    assert found.offset == pytest.approx([0.5] * 3, abs=1e-3)


def test_columns_of_few_tokens_shrink_towards_doing_nothing() -> None:
    y = np.array([[-1.0], [1.0]], dtype=np.float32)
    found = fit_scale_and_offset(y, 3.0 * y)
    # (sum dy dt + prior) / (sum dy^2 + prior) with prior = 32 tokens of mean power 1.
    assert found.scale == pytest.approx([(6.0 + PRIOR_TOKENS) / (2.0 + PRIOR_TOKENS)])
    assert found.offset == pytest.approx([0.0])


def test_reduced_rank_recovers_an_error_of_that_rank() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((500, 12)).astype(np.float32)
    error = rng.standard_normal((12, 2)) @ rng.standard_normal((2, 7))
    term = fit_reduced_rank(x, (x @ error).astype(np.float32), 2)
    assert term.u.shape == (12, 2)
    assert term.v.shape == (2, 7)
    assert term.u @ term.v == pytest.approx(error, rel=0.05, abs=0.05)


@pytest.mark.parametrize(("n_in", "n_out"), [(12, 7), (7, 12)])
def test_reduced_rank_is_the_best_of_its_rank_on_the_inputs(n_in: int, n_out: int) -> None:
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((900, n_in)) * np.linspace(3, 0.3, n_in)).astype(np.float32)
    residual = (x @ rng.standard_normal((n_in, n_out))).astype(np.float32)
    term = fit_reduced_rank(x, residual, 3)
    # Truncated singular values of the residual bound what any rank-3 prediction can do.
    values = np.linalg.svd(residual.astype(np.float64), compute_uv=False)
    left = np.linalg.norm(residual - (x @ term.u) @ term.v) ** 2
    assert left <= 1.02 * (values[3:] ** 2).sum()


@pytest.mark.parametrize("analog", [ANALOG, ("router", "experts", "shared"), ("experts",)])
def test_ranks_spend_the_budget_and_no_more(bench: Bench, analog: tuple[str, ...]) -> None:
    program = build_program(bench.checkpoint)
    ranks = plan_ranks(program, analog)
    terms = {
        m.id: fit_reduced_rank(
            np.ones((1, m.n_in), np.float32), np.ones((1, m.n_out), np.float32), ranks[m.id]
        )
        for m in program.matrices()
        if m.id in ranks
    }
    spent = digital_ops_per_token(Correction("x", "m", "c", low_rank=terms), program).macs
    budget = MAC_SHARE * program.linear_macs_per_token()
    assert 0.8 * budget < spent <= budget
    assert {m.part for m in ranks} <= set(analog)


def test_experts_with_fewer_tokens_than_inputs_get_no_low_rank_term_and_are_listed(
    bench: Bench,
) -> None:
    # Without an error the fit sees the clean routing, whose counts are known.
    program, record = build_program(bench.checkpoint), bench.reference.fit
    start = identity(bench.checkpoint.hash, "chip")
    found = step_of("low_rank")(bench.task(0.0), start, lambda: record)
    scarce, inputs = {}, 28
    for layer, load in record.load.items():
        tokens = np.rint(load * bench.text.fit.size)
        scarce[layer] = [int(e) for e in np.flatnonzero(tokens < inputs)]
        fitted = {m.expert for m in found.low_rank if m.role == "down" and m.layer == layer}
        assert fitted == set(range(len(load))) - set(scarce[layer])
    named = {layer: experts for layer, experts in scarce.items() if experts}
    assert named
    assert unfitted_experts(program, ANALOG, found) == named
    assert unfitted_experts(program, ("attention",), found) == {}
    assert unfitted_experts(program, ANALOG, NONE) == {}


def test_a_matrix_that_all_tokens_reach_needs_twice_its_rank() -> None:
    assert least_tokens(MatrixId(0, "down", 3), 5, 28) == 28
    assert least_tokens(MatrixId(0, "down", 3), 20, 28) == 40
    assert least_tokens(MatrixId(0, "o"), 20, 256) == 40
    assert least_tokens(MatrixId(0, "o"), 2, 256) == 8


def test_the_first_layers_that_were_not_fitted_are_named() -> None:
    sentence = unfitted_sentence({layer: [1, layer] for layer in range(6)})
    assert sentence.startswith("12 experts have fewer calibration tokens than inputs")
    assert "layer 3: 1, 3; and 2 more layers)" in sentence
    assert "layer 4" not in sentence


@pytest.mark.parametrize(
    ("placed", "room", "copies"), [(1, 0, None), (1, 1, 2), (1, 9, 4), (3, 0, 3), (5, 2, 5)]
)
def test_attention_and_routers_are_copied_as_often_as_idle_crossbars_allow(
    bench: Bench, placed: int, room: int, copies: int | None
) -> None:
    program = build_program(bench.checkpoint)
    task: Any = SimpleNamespace(
        analog=ANALOG,
        deployment=SimpleNamespace(
            room_for=lambda _: room,
            copies=lambda *_: placed,
        ),
        decoder=SimpleNamespace(checkpoint=SimpleNamespace(program=program)),
    )
    out = replication.copy_dense(task, NONE, lambda: routers_of(np.zeros((1, 2))))
    if copies is None:
        assert out is NONE
        return
    layers = len(program.layers)
    assert {r.copies for r in out.replicas} == {copies}
    assert [r.part for r in out.replicas] == ["attention", "router"] * layers
    assert len(rewritten_matrices(out, program)) == (copies - 1) * 5 * layers
