"""The sweep of ADC bits, rows and bits per cell: four models, and trends that physics demands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cimsim.cost.adc_sweep import (
    MODELS,
    SweepPoint,
    broken_steps,
    lossless_bits,
    sweep_adc,
)
from tests.command_line import run_here as cimsim


@pytest.fixture(scope="module")
def points() -> tuple[SweepPoint, ...]:
    return sweep_adc(0.1, bits=(4, 7, 8, 10), rows=(64, 256, 1024), cell_bits=(1, 2, 3, 8))


def test_the_sweep_has_every_model_and_point(points: tuple[SweepPoint, ...]) -> None:
    assert len(points) == 4 * 4 * 3 * 4
    assert {p.model for p in points} == set(MODELS)


def test_no_step_of_the_sweep_breaks_physics(points: tuple[SweepPoint, ...]) -> None:
    checked, broken = broken_steps(points)
    assert checked > 1000
    assert broken == ()


@pytest.mark.parametrize(
    ("knob", "figure", "factor"),
    [
        ("adc_bits", "adc_fj", 0.01),
        ("adc_bits", "adc_um2", 0.01),
        ("rows", "total_fj_per_mac", 100.0),
        ("cell_bits", "conversions_per_mac", 100.0),
    ],
)
def test_a_step_against_physics_is_found(
    points: tuple[SweepPoint, ...], knob: str, figure: str, factor: float
) -> None:
    last = max(getattr(p, knob) for p in points)
    at = next(i for i, p in enumerate(points) if getattr(p, knob) == last)
    wrong = replace(points[at], **{figure: factor * getattr(points[at], figure)})
    _, broken = broken_steps([*points[:at], wrong, *points[at + 1 :]])
    assert any(figure in sentence and knob in sentence for sentence in broken)


def test_conversions_of_a_mac_by_hand(points: tuple[SweepPoint, ...]) -> None:
    # 8 input cycles x slices / rows.
    for p in points:
        assert p.conversions_per_mac == pytest.approx(8 * p.cells_per_weight / p.rows)
        assert p.adc_fj_per_mac == pytest.approx(p.adc_fj * p.conversions_per_mac)


@pytest.mark.parametrize(
    ("rows", "v", "w", "bits"), [(128, 1, 2, 9), (128, 2, 2, 11), (64, 1, 1, 7), (512, 4, 4, 17)]
)
def test_lossless_bits_after_isaac(rows: int, v: int, w: int, bits: int) -> None:
    assert lossless_bits(rows, v, w) == bits


def test_the_command_prints_and_draws_the_whole_sweep(tmp_path: Path) -> None:
    plot = tmp_path / "adc.png"
    done = cimsim("adc", "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    assert "1120 points" in done.stdout
    assert "0 against physics" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_answers_in_json(
    points: tuple[SweepPoint, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    monkeypatch.setattr("cimsim.cost.adc_sweep.sweep_adc", lambda r: rates.append(r) or points)
    done = cimsim("adc", "--rate", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    assert rates == [0.1]
    found = json.loads(done.stdout)
    assert found["broken"] == []
    assert any(p["extrapolated"] for p in found["points"] if p["model"] == "zigzag")
