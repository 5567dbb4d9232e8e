"""Calibration as a whole: guard, splits, determinism, what calibrators can see, bad input."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from romer_bench import CONTEXT, TOKENS, Bench
from romer_imports import imported_by

from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Correction, identity
from cimsim.stages.accuracy import _near_things
from cimsim.stages.identity import chip_identity
from cimsim.stages.scoring import calibration_task
from cimsim.zoo import calibration_text
from romer import (
    METHODS,
    Calibrated,
    Task,
    Untreated,
    calibrate,
    registry,
    split_documents,
    steps_of,
)
from romer.acceptance import AcceptLoss, Verdict, accept_loss, compare
from romer.deployment import BroughtUp, Deployment
from romer.registry import Number, register_step, step_of

ERROR = 0.3


@pytest.mark.parametrize("method", sorted(METHODS))
def test_without_noise_every_method_is_the_identity(bench: Bench, method: str) -> None:
    found = calibrate(bench.task(0.0), method)
    assert found.correction.is_identity
    assert found.verdicts == ()


def test_romer_plus_lowers_the_loss_of_documents_it_was_not_fitted_on(bench: Bench) -> None:
    task = bench.task(ERROR)
    found = calibrate(task, "romer_plus")
    before = accept_loss(task, replace(found.correction, columns={}, low_rank={}, rewrites=()))
    after = accept_loss(task, found.correction)
    assert after.text.mean() < before.text.mean()
    assert any(v.kept for v in found.verdicts)


def test_the_same_task_gives_the_same_bytes(bench: Bench) -> None:
    digests = {calibrate(bench.task(ERROR), "digital_terms").correction.digest() for _ in "ab"}
    assert len(digests) == 1


def test_a_harmful_step_is_dropped_and_leaves_no_trace(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(task: Task, correction: Correction, routers: Any) -> Correction:
        del routers
        layers = task.decoder.program.moe_layers
        offsets = {
            layer: np.linspace(-9, 9, len(task.decoder.program.layers[layer].experts))
            for layer in layers
        }
        return replace(correction, router_offset=offsets)

    monkeypatch.setattr(registry._STEPS, "_members", dict(registry.find_steps()))
    register_step("harm")(harm)
    guarded = calibrate(bench.task(ERROR), "harm")
    assert guarded.correction.is_identity
    assert [v.kept for v in guarded.verdicts] == [False]
    assert guarded.verdicts[0].gain_nats < 0
    assert not calibrate(bench.task(ERROR), "harm", guarded=False).correction.is_identity


FLAT = np.zeros((4, 64))
BEFORE = AcceptLoss(FLAT + 1.0, FLAT + 1.0)
# +1 and -1 in turn for eight blocks of 32 tokens: their mean is 0 and its standard error
# sqrt(8/7) / sqrt(8) = 0.378.
SWING = np.repeat(np.tile([1.0, -1.0], 4), 32).reshape(4, 64)
ERROR_OF_SWING = (1 / 7) ** 0.5


def verdict(
    gain: float, swing: float, *, text_gain: float = 0.1, text_swing: float = 0.0, least: float = 0
) -> Verdict:
    """Return the verdict on a step of a mean gain and of swings of its blocks about it."""
    after = AcceptLoss(
        BEFORE.text - text_gain + text_swing * SWING, BEFORE.expected - gain + swing * SWING
    )
    return compare("step", BEFORE, after, min_gain_nats=least)


@pytest.mark.parametrize(
    ("gain", "swing", "least", "kept"),
    [
        (0.1, 0.1 / 2.01 / ERROR_OF_SWING, 0.0, True),
        (0.1, 0.1 / 1.99 / ERROR_OF_SWING, 0.0, False),  # the old rule kept it
        (0.1, 0.0, 0.0999, True),
        (0.1, 0.0, 0.1001, False),
        (0.1, 1.0, 0.001, False),
        (-0.1, 0.0, 0.0, False),
        (0.0, 0.0, 0.0, False),  # nothing changed: nothing gained, whatever the threshold
    ],
)
def test_a_step_is_kept_for_two_standard_errors_and_the_least_gain(
    gain: float, swing: float, least: float, kept: bool
) -> None:
    found = verdict(gain, swing, least=least)
    assert found.kept is kept
    assert found.gain_nats == pytest.approx(gain)
    assert found.error_nats == pytest.approx(swing * ERROR_OF_SWING, abs=1e-12)
    assert found.needed_nats == pytest.approx(max(2 * swing * ERROR_OF_SWING, least))


@pytest.mark.parametrize(
    ("text_gain", "text_swing", "kept"),
    [
        (-0.1, 0.1 / 1.99 / ERROR_OF_SWING, True),  # the sign of what may be chance decides nothing
        (-0.1, 0.1 / 2.01 / ERROR_OF_SWING, False),
        (-0.1, 0.0, False),
        (0.0, 0.0, True),
    ],
)
def test_a_step_that_surely_raises_the_loss_of_the_text_is_dropped(
    text_gain: float, text_swing: float, kept: bool
) -> None:
    assert verdict(0.1, 0.0, text_gain=text_gain, text_swing=text_swing).kept is kept


@pytest.mark.parametrize(
    ("errors", "marginal"), [(3.1, False), (2.9, True), (1.1, True), (0.9, False)]
)
def test_a_gain_within_one_standard_error_of_the_needed_one_is_marginal(
    errors: float, marginal: bool
) -> None:
    assert verdict(0.1, 0.1 / errors / ERROR_OF_SWING).marginal is marginal


def test_a_short_text_is_halved_and_a_single_token_keeps_nothing() -> None:
    gains = np.repeat([[0.1, 0.25]], 15, axis=1)
    short = compare("short", *losses(gains), min_gain_nats=0.0)
    assert short.error_nats == pytest.approx(0.075)
    assert short.kept
    alone = compare("alone", *losses(gains[:, :1]), min_gain_nats=0.0)
    assert alone.error_nats == np.inf
    assert not alone.kept


def losses(gains: NDArray[np.float64]) -> tuple[AcceptLoss, AcceptLoss]:
    return AcceptLoss(0 * gains, 0 * gains), AcceptLoss(-gains, -gains)


def test_the_least_gain_of_a_task_decides(bench: Bench) -> None:
    task = bench.task(ERROR)
    (found,) = calibrate(task, "digital_terms").verdicts
    assert found.kept
    for least, kept in ((0.99 * found.gain_nats, True), (1.01 * found.gain_nats, False)):
        again = calibrate(replace(task, min_gain_nats=least), "digital_terms")
        assert again.verdicts[0].kept is kept
        assert again.correction.is_identity is not kept


@settings(max_examples=25)
@given(count=st.integers(10, 120), width=st.sampled_from([32, 48, 64]))
def test_fit_and_accept_share_no_document(count: int, width: int) -> None:
    # A document is its number over and over, so that a window says where it is from.
    text = split_documents(
        NumberTokens(), "\n\n".join(str(i) for i in range(40)), count * width, width
    )
    assert len(text.fit) + len(text.accept) == count
    assert not set(text.fit.ravel().tolist()) & set(text.accept.ravel().tolist())
    assert 0.1 <= len(text.accept) / count <= 0.3


def test_more_accept_tokens_come_from_documents_that_nothing_is_fitted_on() -> None:
    numbers = "\n\n".join(str(i) for i in range(40))
    plain = split_documents(NumberTokens(), numbers, 20 * 64, 64)
    more = split_documents(NumberTokens(), numbers, 20 * 64, 64, accept_tokens=17 * 64 + 5)
    np.testing.assert_array_equal(more.fit, plain.fit)
    np.testing.assert_array_equal(more.accept[: len(plain.accept)], plain.accept)
    assert len(more.accept) == 17
    found, count = np.unique(more.accept[:, 0], return_counts=True)
    assert found.tolist() == [4, 9, 14, 19, 24, 29, 34, 39]  # every fifth document
    assert count.max() - count.min() <= 1  # spread over them
    same = split_documents(NumberTokens(), numbers, 20 * 64, 64, accept_tokens=64)
    assert len(same.accept) == len(plain.accept)
    with pytest.raises(CimsimError, match=f"at most {24 * 64}") as caught:
        split_documents(NumberTokens(), numbers, 20 * 64, 64, accept_tokens=25 * 64)
    assert caught.value.key == "calibration.accept_tokens"


def test_steps_are_fitted_in_one_mode_and_accepted_in_the_one_that_is_used(bench: Bench) -> None:
    seen: list[tuple[int, str]] = []
    task = bench.task(ERROR)
    linear = task.deployment.linear

    def noting(correction: Any, *, read_seed: int, mode: str) -> Any:
        seen.append((read_seed, mode))
        return linear(correction, read_seed=read_seed, mode=mode)

    noted = SimpleNamespace(linear=noting, copies=task.deployment.copies)
    calibrate(replace(task, deployment=noted, accept_mode="detailed"), "digital_terms")
    assert {mode for seed, mode in seen if seed == task.read_seeds[0]} == {"folded"}
    assert {mode for seed, mode in seen if seed == task.read_seeds[1]} == {"detailed"}


@pytest.mark.parametrize(
    ("knobs", "mode"),
    [
        ((), "folded"),
        (("calibration.accept_mode=deployed",), "detailed"),
        (("calibration.accept_mode=deployed", "run.tile_mode=folded"), "folded"),
    ],
)
def test_a_run_accepts_in_the_mode_that_its_knobs_say(
    bench: Bench, knobs: tuple[str, ...], mode: str
) -> None:
    config = load_chip(find_chip("isaac"), knobs)
    chip: Any = SimpleNamespace(digital=bench.digital)
    task = calibration_task(config, bench.decoder, chip, bench.reference, bench.text, "chip")
    assert (task.mode, task.accept_mode) == ("folded", mode)
    assert chip_identity(config, 0) == chip_identity(load_chip(find_chip("isaac")), 0)


class NumberTokens:
    """A checkpoint whose tokenizer writes a document as 200 times its number."""

    bos = None
    text_tokens, windows = Checkpoint.text_tokens, Checkpoint.windows

    @property
    def tokenizer(self) -> Any:
        return self

    def encode(self, text: str, *, add_special_tokens: bool) -> Any:
        del add_special_tokens
        return SimpleNamespace(ids=[int(text)] * 200)


def test_too_few_tokens_say_how_many_are_needed(bench: Bench) -> None:
    with pytest.raises(CimsimError, match=f"at least {10 * CONTEXT}") as caught:
        split_documents(bench.checkpoint, calibration_text(), 5 * CONTEXT, CONTEXT)
    assert caught.value.key == "calibration.tokens"
    with pytest.raises(CimsimError, match="ask for fewer"):
        split_documents(bench.checkpoint, "one short text", TOKENS, CONTEXT)


def test_near_things_are_among_the_warnings_of_a_run() -> None:
    near = Verdict("columns", 0.0021, 0.0005, 0.002, 0.0, 0.1, kept=True)
    sure = replace(near, step="low_rank", gain_nats=0.1)
    seed = SimpleNamespace(chip_seed=3, calibration=Calibrated(identity("m", "c"), (near, sure)))
    (warning,) = _near_things([seed])
    assert warning.startswith(
        "calibration of chip seed 3: columns: kept (marginal), gain +0.0021 +- 0.0005 nats per "
        "token, 0.0020 needed"
    )


def test_an_unknown_method_names_the_nearest_one() -> None:
    with pytest.raises(CimsimError, match="did you mean 'romer_plus'"):
        steps_of("romer_pluss")
    with pytest.raises(CimsimError, match="did you mean 'match_r4'"):
        steps_of("columns+match_r44")


def test_methods_are_strings_of_registered_steps() -> None:
    for method, names in METHODS.items():
        assert steps_of(method) == names
        assert set(names) <= set(registry.find_steps())
    assert steps_of("columns + match_r4") == ("columns", "match_r4")


def test_a_step_of_a_user_is_found_by_name_with_its_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry._STEPS, "_members", dict(registry.find_steps()))
    monkeypatch.setattr(registry, "_NUMBERS", dict(registry._NUMBERS))

    @register_step("shift", Number("offset of all logits", 0.0, 2.0))
    def shift(task: Task, correction: Correction, routers: Any, amount: float = 1.0) -> Correction:
        del routers
        offsets = dict.fromkeys(task.decoder.program.moe_layers, np.float32(amount))
        return replace(correction, router_offset=offsets)

    identity = calibrate(bench.task(0.0), "identity").correction
    found = step_of("shift@0.5")(bench.task(0.0), identity, None)
    assert set(found.router_offset.values()) == {np.float32(0.5)}
    with pytest.raises(CimsimError, match="offset of all logits is out of range"):
        step_of("shift@3")
    with pytest.raises(CimsimError, match="registered already, by romer"):
        register_step("columns")(shift)


def test_non_finite_predictions_are_one_clear_sentence(bench: Bench) -> None:
    parts = tuple(np.full_like(z, np.nan) for z in bench.reference.accept_log_p)
    reference = replace(bench.reference, accept_log_p=parts)
    with pytest.raises(CimsimError, match="not finite"):
        calibrate(replace(bench.task(ERROR), reference=reference), "digital_terms")


def test_a_model_without_a_recognised_router_is_one_clear_sentence(bench: Bench) -> None:
    task = bench.task(ERROR)
    dense = SimpleNamespace(program=SimpleNamespace(moe_layers=()))
    decoder: Any = dense
    with pytest.raises(CimsimError, match="no layer with a router") as caught:
        calibrate(replace(task, decoder=decoder), "romer")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bias_r3@x", "lambda, in IQR is out of range"),
        ("replace_e1@2", "is out of range"),
        ("columns@2", "takes no number"),
        ("clamp_r2@1", "did you mean 'clamp_r1'"),
    ],
)
def test_numbers_of_steps_are_checked(name: str, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        steps_of(name)


def test_the_number_of_a_step_reaches_it(bench: Bench) -> None:
    found = calibrate(bench.task(ERROR), "clamp_r1@0.25", guarded=False).correction
    assert set(found.router_clamp.values()) == {0.25}


def test_the_protocol_shows_a_calibrator_nothing_but_products() -> None:
    public = [n for n in vars(Deployment) if not n.startswith("_")]
    assert public == ["linear", "bring_up", "copies", "recodes", "room_for"]
    assert [f.name for f in fields(BroughtUp)] == ["matrix", "copy", "source", "top", "lsb", "read"]
    hints = get_type_hints(Deployment.linear)
    assert hints["return"].__name__ == "Linear"
    names = set(inspect.signature(Task).parameters)
    assert not names & {"chip_seed", "sigma", "sigma_lsb", "config", "device", "placement"}


def test_calibrators_import_neither_chip_noise_nor_the_scored_text() -> None:
    seen = imported_by("romer")
    assert not {m for m in seen if m.startswith(("cimsim.mac", "cimsim.stages", "cimsim.zoo"))}


class CoarseRouters:
    """A chip whose routers' converters have steps of two standard deviations of a logit."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def linear(self, correction: Correction | None, *, read_seed: int, mode: str) -> Any:
        inner = self._inner.linear(correction, read_seed=read_seed, mode=mode)

        def read(matrix: Any, x: Any, tokens: Any) -> Any:
            y = inner(matrix, x, tokens)
            step = 2.0 * y.std() if matrix.role == "router" else 0.0
            return np.rint(y / step).astype(np.float32) * np.float32(step) if step else y

        return read


def test_no_reading_of_the_two_steps_raises_the_loss_where_a_coarse_converter_ends_quartiles(
    bench: Bench,
) -> None:
    task = bench.task(ERROR)
    task = replace(task, deployment=CoarseRouters(task.deployment))
    untreated = Untreated(task)
    before = untreated.loss.expected.mean()
    assert before > 0.3
    for method in ("romer", "match_r4", "quantile_map", "bias_r3", "replace_e3+match_r4"):
        found = calibrate(task, method, untreated=untreated)
        assert accept_loss(task, found.correction).expected.mean() <= before, method
    # Without a bound, and without a guard, the ratio of the quartile ranges wrecked the model.
    kept = calibrate(task, "match_r4", guarded=False, untreated=untreated).correction
    assert max(float(scale.max()) for scale in kept.router_scale.values()) <= 4.0
    assert accept_loss(task, kept).expected.mean() < 3.0 * before
