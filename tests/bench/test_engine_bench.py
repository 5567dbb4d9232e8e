"""The bench measures what it says: sizes of its models."""

from __future__ import annotations

from cimsim.bench import engine as bench


def test_the_full_size_case_has_98304_crossbars_and_524288_visits() -> None:
    plan = bench._olmoe("none")
    assert sum(len(s.crossbars) for s in plan.placement.seats) == 98_304
    assert plan.experts.size == 524_288
    assert plan.flights.count == 4096
    # One expert is one tile, so that 1,024 tiles hold them all.
    assert len({int(t) for t in plan.sites.tiles}) == 1024


def test_the_small_case_runs_on_crossbars_alone() -> None:
    plan = bench._small()
    assert all("linear" not in step.work.macs for step in plan.steps)
    assert len(plan.steps[0].work.elements) > 0


def test_the_split_case_has_a_quarter_of_a_layer_on_each_of_64_chips() -> None:
    plan = bench._olmoe("packet", chips=bench.SPREAD)
    assert plan.chips == 64
    assert plan.mesh.chip_tiles == 16
    assert sum(len(s.crossbars) for s in plan.placement.seats) == 98_304
    chips = {plan.mesh.chip_of_tile(t) for t in plan.sites.tiles.tolist()}
    assert chips == set(range(64))
    # Four chips per layer; its digital work is done on the first of them.
    assert set(plan.step.chip.tolist()) == set(range(0, 64, 4))


def test_a_long_run_takes_whole_sequences_and_every_token_to_its_experts() -> None:
    row = bench.run_long_bench(1000)["olmoe_1b_7b_long"]
    assert isinstance(row, dict)
    assert row["tokens"] == 1024
    assert row["compiled_visits"] == row["compiled_noc_visits"] == 1024 * 16 * 8
    assert [row[f"decode_b{b}_visits"] for b in (1, 8, 32)] == [1024 * 16 * 8] * 3
    decoded = sum(row[f"decode_b{b}_noc_s"] for b in (1, 8, 32))
    assert row["prefill_and_decode_noc_s"] > decoded + row["compiled_noc_s"]
    assert row["compiled_time_a_token_over_that_of_a_quarter"] > 0
    assert row["peak_memory_gb"] > 0.05
