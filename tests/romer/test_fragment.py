"""The fragment's parsings and iterative load matching, against plain twins and by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from romer_bench import Bench

from cimsim.model import Correction, identity
from romer import calibrate
from romer.record import RouterRecord
from romer.registry import step_of
from romer.steps.load_match import ROUNDS, matching_bias

NONE = identity("model", "chip")


def _logits(n: int = 400, experts: int = 6) -> Any:
    draw = np.random.default_rng(0)
    z = draw.standard_normal((n, experts)) * np.linspace(0.5, 2.0, experts) + np.arange(experts)
    return z.astype(np.float32)


def _applied(name: str, z: Any, start: Correction = NONE) -> Any:
    record = RouterRecord({0: z}, {0: z}, {0: np.full(z.shape[1], 0.25)}, {0: z})
    task = SimpleNamespace(reference=SimpleNamespace(fit=record))
    found = step_of(name)(task, start, lambda: record)  # type: ignore[arg-type]
    correction = found.router(0)
    assert correction is not None
    return correction.apply(z, 2)


def _plainly(z: Any, parsing: str, amount: float) -> Any:
    """Return what a parsing says of each logit: the slow twin."""
    out = np.array(z, dtype=np.float64)
    for e in range(z.shape[1]):
        low, mid, high = np.quantile(z[:, e].astype(np.float64), [0.25, 0.5, 0.75])
        reach = amount * (high - low)
        for i in range(len(z)):
            d = z[i, e] - mid
            if parsing == "apart":
                out[i, e] += reach if d > 0 else -reach
            elif parsing == "together":
                out[i, e] = mid + np.sign(d) * max(abs(d) - reach, 0.0)
            else:
                out[i, e] = min(max(z[i, e], low - reach), high + reach)
    return out


@pytest.mark.parametrize("start", ["plain", "affine"])
@pytest.mark.parametrize("parsing", ["apart", "together", "fence"])
def test_parsings_over_the_tokens_of_an_expert_equal_their_twin(parsing: str, start: str) -> None:
    z, known = _logits(), NONE
    seen = z
    if start == "affine":
        scale, offset = np.full(6, 2.0, np.float32), np.arange(6, dtype=np.float32)
        known = Correction("x", "", "", router_scale={0: scale}, router_offset={0: offset})
        seen = z * scale + offset
    found = _applied(f"fragment_{parsing}@0.3", z, known)
    wanted = _plainly(seen, parsing, 0.3)
    # A jump at a median has a width: a logit or two of an expert lie within.
    away = np.abs(found - wanted) > 1e-3 * (1 + np.abs(wanted))
    assert away.sum() <= (6 if parsing == "apart" else 0)


def test_a_column_whose_quartiles_fall_together_stays_finite_and_in_order() -> None:
    z = np.concatenate([np.zeros((50, 2)), _logits(50, 2)], axis=1).astype(np.float32)
    for parsing in ("apart", "together", "fence"):
        found = _applied(f"fragment_{parsing}", z)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[:, :2], 0.0, atol=1e-3)


def test_rank_bias_lowers_the_upper_half_of_medians_and_raises_the_lower() -> None:
    # Medians 0, 4, 8, 12: quartiles 3 and 9, lambda 0.5 of 6 is 3.
    z = np.array([[8.0, 0.0, 12.0, 4.0]] * 3, dtype=np.float32)
    np.testing.assert_allclose(_applied("fragment_rank@0.5", z)[0], [5.0, 3.0, 9.0, 7.0])


def _bias_plainly(z: Any, load: Any, top_k: int, damping: float) -> list[float]:
    """Return the bias by sorting one token at a time: the slow twin."""
    n, experts = z.shape
    unit = sum(float(np.std(z[:, e])) for e in range(experts)) / experts
    bias, best, least = [0.0] * experts, [0.0] * experts, float("inf")
    for _ in range(ROUNDS):
        counts = [0] * experts
        for row in z:
            order = sorted(range(experts), key=lambda e: -(row[e] + bias[e]))
            for e in order[:top_k]:
                counts[e] += 1
        apart = sum(abs(c / n - f) for c, f in zip(counts, load, strict=True))
        if apart < least:
            least, best = apart, bias
        bias = [
            b + damping * unit * float(np.log((f + 1 / n) / (c / n + 1 / n)))
            for b, c, f in zip(bias, counts, load, strict=True)
        ]
    return best


def test_load_matching_equals_its_twin() -> None:
    z = _logits(120).astype(np.float64)
    load = np.array([0.5, 0.4, 0.4, 0.3, 0.2, 0.2])
    found = matching_bias(z, load, 2, 0.3)
    np.testing.assert_allclose(found, _bias_plainly(z, load, 2, 0.3), rtol=1e-9, atol=1e-9)


def test_load_matching_finds_the_offset_of_a_column() -> None:
    z = np.random.default_rng(1).standard_normal((2000, 8))
    clean = np.bincount(np.argsort(-z, axis=1)[:, :2].ravel(), minlength=8) / 2000
    moved = z + np.array([3.0, -3.0, *[0.0] * 6])
    bias = matching_bias(moved, clean, 2, 0.3)
    after = np.bincount(np.argsort(-(moved + bias), axis=1)[:, :2].ravel(), minlength=8) / 2000
    assert np.abs(after - clean).sum() < 0.02
    assert bias[1] - bias[0] == pytest.approx(6.0, abs=0.2)
    # What needs nothing is given nothing.
    assert not matching_bias(z, clean, 2, 0.3).any()


@pytest.mark.parametrize(
    "step",
    ["load_match", "fragment_apart", "fragment_together", "fragment_fence", "fragment_rank"],
)
def test_every_reading_is_a_method_that_the_guard_decides_on(bench: Bench, step: str) -> None:
    found = calibrate(bench.task(0.1), step)
    assert [v.step for v in found.verdicts] == [step]
    (verdict,) = found.verdicts
    assert found.correction.is_identity is not verdict.kept
    assert not verdict.kept or verdict.gain_nats > 0
