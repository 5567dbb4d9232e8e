"""The full-size model: time per token with its error, what leaks, and what waits for memory."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.cache import NO_CACHE
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.results import Row
from cimsim.stages.equal_memory import memory_of
from cimsim.stages.scale import _steps
from cimsim.stages.steady import steady_time
from tests.pipeline.full_size_stage import full_size


def test_only_tokens_with_every_sequence_in_flight_count() -> None:
    # Both have their first token at 20 and one is through at 50: 30, 40 and 50 count.
    done = np.array([[10, 30, 50], [20, 40, 90]])
    took = np.array([[10, 20, 20], [20, 20, 50]])
    found = steady_time(took, done)
    assert (found.mean_ps, found.tokens, found.error_ps) == (20.0, 3, None)


def test_error_of_the_mean_time_is_that_of_ten_parts() -> None:
    # 20 tokens count, in ten parts of two: means 1, 2, ..., 10. Their standard deviation is
    # sqrt(82.5 / 9) = 3.0277, over sqrt(10) 0.95743; times t(0.975, 9) = 2.2622 is 2.1659.
    took = np.repeat(np.arange(11), 2)[1:][None]
    found = steady_time(took, np.arange(21)[None])
    assert found.tokens == 20
    assert found.mean_ps == 5.5
    assert found.error_ps == pytest.approx(2.1659, rel=1e-4)


def test_sequences_that_never_run_together_have_a_mean_of_all_tokens() -> None:
    found = steady_time(np.array([[4, 4], [8, 8]]), np.array([[4, 8], [16, 24]]))
    assert (found.mean_ps, found.error_ps, found.tokens) == (6.0, None, 4)


def test_chips_of_many_routers_time_fewer_tokens_of_a_batch_within_bounds() -> None:
    assert [_steps(32, routers) for routers in (100, 25_000, 100_000)] == [16, 10, 8]
    assert _steps(1, 100_000) == 24


@pytest.fixture(scope="module")
def rows() -> dict[tuple[object, object], Row]:
    found = full_size(load_chip(find_chip("isaac")), NO_CACHE)
    assert not isinstance(found, str)
    return {(row["phase"], row["batch"]): row for row in found}


def test_phases_timed_side_by_side_give_the_same_rows_in_the_same_order(
    rows: dict[tuple[object, object], Row],
) -> None:
    found = full_size(load_chip(find_chip("isaac")), NO_CACHE, threads=3)
    assert found == tuple(rows.values())


def test_leakage_of_components_sums_to_all_leakage(rows: dict[tuple[object, object], Row]) -> None:
    for row in rows.values():
        parts = {k: v for k, v in row.items() if k.startswith("energy_leakage_") and v}
        total = parts.pop("energy_leakage_nj")
        assert len(parts) > 2
        assert sum(map(float, parts.values())) == pytest.approx(total)  # type: ignore[arg-type]


def test_what_never_sleeps_is_named_with_its_number(rows: dict[tuple[object, object], Row]) -> None:
    named = str(rows["decode", 32]["never_sleeping"]).split("; ")
    assert f"{rows['decode', 32]['tiles']} tile_buffer (clock_gated)" in named


def test_gated_components_are_not_called_awake() -> None:
    idle = "cost.idle={tile: gated, adc: gated, digital: gated, noc: gated}"
    found = full_size(load_chip(find_chip("isaac"), (idle,)), NO_CACHE)
    assert not isinstance(found, str)
    assert {row["never_sleeping"] for row in found} == {None}


def test_decode_without_the_limit_of_memory_waits_for_something_else(
    rows: dict[tuple[object, object], Row],
) -> None:
    limited, free = rows["decode", 32], rows["decode_free_memory", 32]
    assert limited["critical_resource"] == "memory channels"
    assert free["critical_resource"] != "memory channels"
    assert float(free["tokens_per_s"]) > 2 * float(limited["tokens_per_s"])  # type: ignore[arg-type]
    # The same bytes move: energy off the chip stays.
    column = "energy_off_chip_per_token_nj"
    assert free[column] == pytest.approx(limited[column])


def test_every_time_of_decode_has_an_error(rows: dict[tuple[object, object], Row]) -> None:
    for (phase, _), row in rows.items():
        error = row["latency_error_us"]
        if phase == "prefill":
            assert error is None
        else:
            assert 0 <= float(error) < 0.1 * float(row["latency_us"])  # type: ignore[arg-type]


def test_the_memory_of_the_reference_is_stated_and_given_to_all() -> None:
    shared = memory_of(["isaac", "npu_hbm"], "npu_hbm")
    assert "npu_hbm: hbm2, 8 channels of 76.8 GB/s, 150 ns, 7.03 pJ/bit" in shared.note
    given = load_chip(find_chip("isaac"), shared.settings).memory
    own = load_chip(find_chip("npu_hbm")).memory
    assert given.model_dump(exclude={"kv", "kv_bits"}) == own.model_dump(exclude={"kv", "kv_bits"})
    assert memory_of(["isaac", "npu_hbm"], None).settings[-1] == "memory.pj_per_bit=null"


def test_no_memory_can_be_shared_that_is_not_there() -> None:
    with pytest.raises(CimsimError, match="allowed: isaac, npu_hbm"):
        memory_of(["isaac", "npu_hbm"], "puma")
