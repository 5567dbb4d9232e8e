"""Single messages at both levels of the network: the errors that `validity` states hold."""

from __future__ import annotations

import pytest

from cimsim.bench.messages import measure_messages, run_message_bench
from cimsim.chip.topology import Topology
from cimsim.engine.noc.validity import BEYOND
from cimsim.errors import CimsimError

MESH = Topology("mesh", 4, 4)


@pytest.mark.parametrize(
    ("pattern", "flits", "load"),
    [
        ("uniform", 64, 0.05), ("transpose", 256, 0.1), ("tornado", 16, 0.2),
        ("hotspot", 64, 0.4), ("neighbor", 1024, 0.2), ("bitcomp", 256, 0.4),
        ("shuffle", 64, 0.1),
    ],
)  # fmt: skip
def test_a_sample_of_patterns_is_within_what_is_stated(
    pattern: str, flits: int, load: float
) -> None:
    row = measure_messages(MESH, pattern, flits, load)
    used = float(str(row["used"]))
    _, mean, most = next(stated for stated in BEYOND if used <= stated[0])
    assert -mean <= float(str(row["mean_error"])) < 0.02
    assert float(str(row["p99_error"])) >= -most


def test_waiting_messages_hold_up_their_senders_at_both_levels() -> None:
    # Without that the packet level is too fast by 84 %.
    row = measure_messages(MESH, "uniform", 64, 0.8)
    assert abs(float(str(row["mean_error"]))) < 0.3


def test_every_pattern_length_and_load_has_a_row() -> None:
    rows = list(run_message_bench(MESH, ("neighbor", "bitcomp"), (4, 8), (0.1, 0.3)))
    assert [(r["pattern"], r["flits"], r["load"]) for r in rows] == [
        (p, f, u) for p in ("neighbor", "bitcomp") for f in (4, 8) for u in (0.1, 0.3)
    ]


def test_a_pattern_that_a_mesh_does_not_have_is_refused() -> None:
    with pytest.raises(CimsimError, match="as many columns as rows"):
        measure_messages(Topology("mesh", 4, 2), "transpose", 8, 0.1)
