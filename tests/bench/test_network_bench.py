"""The bench of the network times both levels and says by how much they differ."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cimsim.bench.network import run_network_bench
from cimsim.cli.bench import register
from cimsim.cli.entry import new_app
from cimsim.errors import CimsimError
from tests.tiny_model import write_checkpoint

SETS = (
    "workload.tokens=64", "workload.context=16", "workload.in_flight=2", "calibration.tokens=256",
    "run.flight_tokens=8", "run.decode_batch=[1,4]",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")
    # The last computes nothing on tiles, so that nothing travels.
    return list(run_network_bench(["hermes", "npu_hbm"], (1.0, 0.5), str(model), SETS))


def test_every_phase_with_traffic_has_a_row_at_each_clock(rows: list[dict[str, object]]) -> None:
    found = [(row["chip"], row["clock"], row["phase"]) for row in rows]
    phases = ("prefill", "decode_b1", "decode_b4")
    assert found == [("hermes", clock, phase) for clock in (1.0, 0.5) for phase in phases]


def test_a_slower_network_carries_the_same_and_is_busier(rows: list[dict[str, object]]) -> None:
    for fast, slow in zip(rows[:3], rows[3:], strict=True):
        assert slow["million_flit_hops"] == fast["million_flit_hops"]
        assert float(str(slow["used"])) > float(str(fast["used"]))
        assert float(str(slow["share"])) > float(str(fast["share"]))


def test_lonely_tokens_are_as_fast_at_both_levels(
    rows: list[dict[str, object]],
) -> None:
    alone = [row for row in rows if row["phase"] == "decode_b1"]
    assert len(alone) == 2
    for row in alone:
        # Flit by flit a transfer begins with a cycle.
        assert -0.005 < float(str(row["mean_error"])) <= 0
        assert row["makespan_error"] == pytest.approx(row["mean_error"])


def test_a_chip_without_traffic_has_nothing_to_compare(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "tiny")
    arguments = ["bench", "network", "npu_hbm", "--model", str(model), "--tokens", "256"]
    app = new_app("Test.")
    register(app)
    with pytest.raises(CimsimError, match="no phase of these chips"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
