"""``cimsim serve``: latency against load, its workloads, and bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cimsim.cli.serve import register
from cimsim.errors import CimsimError, SimulationError

PARTS = ("queue", "compute", "adc", "noc", "dram", "write", "digital")
# Curves need no good placement, and a plain one takes no time.
SHORT = (
    *("--requests", "24", "--length", "3", "--batch", "4"),
    *("--set", "mapping.policy=round_robin"),
)


def call(*words: str | Path) -> tuple[str, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)
    result = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def points(*words: str | Path) -> list[dict[str, object]]:
    out, _ = call("isaac", *words, "--json")
    found: list[dict[str, object]] = json.loads(out)["points"]
    return found


def test_latency_grows_with_load_and_is_the_sum_of_its_parts() -> None:
    closed, light, heavy, over = points(*SHORT, "--loads", "0.1,0.9,3")
    assert closed["arrivals"] == "closed"
    assert light["latency_mean_us"] < heavy["latency_mean_us"] < over["latency_mean_us"]
    for row in (closed, light, heavy, over):
        parts = sum(float(row[f"{part}_us"]) for part in PARTS)  # type: ignore[arg-type]
        assert parts == pytest.approx(row["latency_mean_us"], rel=1e-12)
        assert row["requests"] == 24
        assert row["tokens"] == 72
    assert light["completed_per_s"] == pytest.approx(light["rate_per_s"], rel=0.35)


def test_a_rate_past_saturation_ends_with_a_warning_and_a_bounded_queue() -> None:
    out, err = call("isaac", *SHORT, "--loads", "0.2,50")
    assert [line.endswith("SATURATED") for line in out.splitlines()[2:]] == [False, True]
    assert "there is no steady state" in err
    over = points(*SHORT, "--loads", "50")[1]
    assert over["saturated"] is True
    assert 4 < over["backlog"] <= over["in_system_max"] <= 24


def test_recorded_arrivals_and_routing_are_replayed(tmp_path: Path) -> None:
    experts = np.argsort(np.random.default_rng(0).random((12, 4, 64)), axis=2)[:, :, :8]
    sequence = np.repeat(np.arange(4), 3)
    np.savez(
        tmp_path / "routing.npz", experts=experts.astype(np.int16), sequence=sequence,
        position=np.tile(np.arange(3), 4), n_experts=np.int64(64),
    )  # fmt: skip
    (tmp_path / "arrivals.txt").write_text("# seconds\n0\n0.001\n0.002\n\n0.003\n")
    files = ("--routing", tmp_path / "routing.npz", "--arrivals", tmp_path / "arrivals.txt")
    row = points(*files)[1]
    assert row["arrivals"] == "trace"
    assert row["rate_per_s"] == pytest.approx(1000)
    assert row["requests"] == 4
    assert row["in_system_max"] == 1  # a millisecond is plenty for three tokens


@pytest.fixture(scope="module")
def half_load() -> list[dict[str, object]]:
    return points(*SHORT, "--loads", "0.5")


@pytest.mark.parametrize(
    "change",
    [
        ("--skew", "2"), ("--popularity", "gamma"), ("--correlation", "0.9"), ("--drift", "1"),
        ("--seed", "1"), ("--phase", "prefill"), ("--batch", "2"), ("--set", "system.chips=2"),
    ],
)  # fmt: skip
def test_every_knob_of_the_workload_moves_the_curve(
    change: tuple[str, str], half_load: list[dict[str, object]]
) -> None:
    assert points(*SHORT, "--loads", "0.5", *change) != half_load


def test_table_and_figure_are_written(tmp_path: Path) -> None:
    files = ("--csv", tmp_path / "curve.csv", "--plot", tmp_path / "curve.svg")
    call("isaac", *SHORT, "--loads", "0.3,0.6", *files)
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [r["arrivals"] for r in rows] == ["closed", "poisson", "poisson"]
    assert b"Latency" in (tmp_path / "curve.svg").read_bytes()


def test_a_full_size_shape_is_served_too() -> None:
    rows = points("--shape", "olmoe-1b-7b", "--requests", "3", "--length", "2", "--loads", "0.5")
    assert rows[1]["tokens"] == 6


def test_a_limit_ends_the_curve_with_an_error_and_a_partial_table(tmp_path: Path) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)
    words = ["isaac", *SHORT, "--csv", str(tmp_path / "c.csv"), "--max-events", "50", "--json"]
    with pytest.raises(SimulationError, match="limit of 50 events"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    result = CliRunner().invoke(app, words)
    assert "limit of 50 events" in json.loads(result.stdout)["partial"]


WRONG = {
    "rate": (("--rates", "0"), "--rates: must be positive"),
    "NaN load": (("--loads", "nan"), "--loads: must be positive"),
    "phase": (("--phase", "train"), "--phase"),
    "popularity": (("--popularity", "flat"), "--popularity"),
    "correlation": (("--correlation", "2"), "out of range"),
    "engine": (("--engine", "fast"), "is not an engine"),
    "no file": (("--routing", "nowhere.npz"), "not found"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused_by_name(case: str) -> None:
    words, says = WRONG[case]
    with pytest.raises(CimsimError, match=says):
        call("isaac", *SHORT, *words)


def test_experts_that_no_token_visits_are_served_too(tmp_path: Path) -> None:
    experts = np.tile(np.arange(8, dtype=np.int64), (4, 4, 1))  # of 64
    np.savez(tmp_path / "r.npz", experts=experts)
    np.savez(tmp_path / "s.npz", experts=experts, n_experts=64)
    words = ("--loads", "0.5", "--set", "mapping.policy=round_robin", "--routing")
    assert points(*words, tmp_path / "r.npz") == points(*words, tmp_path / "s.npz")


def test_a_recorded_routing_of_another_model_is_refused(tmp_path: Path) -> None:
    experts = np.tile(np.arange(8, dtype=np.int16), (3, 4, 1)) + 60
    np.savez(tmp_path / "r.npz", experts=experts, n_experts=np.int64(68))
    with pytest.raises(CimsimError, match="expert that the model doesn't have"):
        call("isaac", "--routing", tmp_path / "r.npz")
    # A shape says how many experts it has as well as a model does.
    np.savez(tmp_path / "r.npz", experts=experts)
    with pytest.raises(CimsimError, match="16 MoE layers, top-8"):
        call("isaac", "--routing", tmp_path / "r.npz", "--shape", "olmoe-1b-7b")
    np.savez(tmp_path / "r.npz", experts=experts[:, :2] - 60, n_experts=np.int64(64))
    with pytest.raises(CimsimError, match="2 MoE layers, top-8"):
        call("isaac", "--routing", tmp_path / "r.npz")
