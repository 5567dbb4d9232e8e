"""Rows of results.csv and energy tables: identities between columns, sums, shares."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_run import fake_chip, fake_run

from cimsim.errors import CimsimInternalError
from cimsim.results import (
    COMPONENTS,
    Row,
    component_column,
    component_energies,
    energy_rows,
    family_of,
    scale_energy,
    top_components,
)
from cimsim.results.components import FAMILIES
from cimsim.results.destroyed import is_destroyed
from cimsim.stages.columns.identities import check_identities
from cimsim.stages.columns.registry import results_table, run_tables
from cimsim.stages.columns.scale import SCALE


@dataclass(frozen=True)
class Entry:
    component: str
    count: float
    energy_fj: float
    kind: str = "dynamic"
    source: str = "paper"


ENTRIES = [
    Entry("adc", 10, 3e6),
    Entry("adc", 30, 5e6, source="data sheet"),
    Entry("crossbar", 4, 2e6),
    Entry("leakage_adc", 100, 1e6, "leakage"),
    Entry("leakage_dac", 100, 0.5e6, "leakage"),
    Entry("dram", 8, 4e6, "off_chip"),
    Entry("mystery", 1, 0.5e6),
]


@pytest.mark.parametrize(
    ("column", "factor", "message"),
    [
        ("energy_dynamic_per_token_nj", 1.01, "energy parts sum"),
        ("tops_per_w", 0.99, "2 x MACs"),
        ("tokens_per_s_per_mm2", 1.001, "square millimetre"),
        ("power_density_w_per_mm2", 2.0, "power density"),
        ("ppl_noisy_ci_low", 2.0, "outside its interval"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(
    column: str, factor: float, message: str
) -> None:
    row = fake_chip(0).row
    check_identities(row)
    broken: Row = {**row, column: row[column] * factor}
    with pytest.raises(CimsimInternalError, match=message):
        check_identities(broken)


def test_a_chip_is_destroyed_at_the_perplexity_of_unigrams_and_above() -> None:
    assert [is_destroyed(ppl, 900.0) for ppl in (14.0, 899.9, 900.0, 13_109.0)] == [0, 0, 1, 1]
    row = fake_chip(0).row
    for changed in ({"destroyed": True}, {"ppl_unigram": 2.0}):
        with pytest.raises(CimsimInternalError, match="destroyed"):
            check_identities({**row, **changed})
    check_identities({**row, "ppl_unigram": 2.0, "destroyed": True, "destroyed_calibrated": True})


def test_energy_rows_show_each_component_once_and_sum_to_the_ledger() -> None:
    rows = energy_rows(
        ENTRIES, config="isaac", model="m", phase="prefill", calibrated=False, tokens=4
    )
    assert [(r["component"], r["kind"]) for r in rows][:2] == [
        ("adc", "dynamic"),
        ("crossbar", "dynamic"),
    ]
    adc = rows[0]
    assert (adc["count"], adc["energy_nj"], adc["energy_per_token_nj"]) == (40.0, 8.0, 2.0)
    assert adc["energy_per_action_fj"] == 2e5
    assert adc["source"] == "paper; data sheet"
    assert sum(r["energy_nj"] for r in rows) == sum(e.energy_fj for e in ENTRIES) / 1e6


def test_phase_without_tokens_has_no_energy_a_token() -> None:
    rows = energy_rows(
        ENTRIES[:1], config="a", model="m", phase="programming", calibrated=True, tokens=0
    )
    assert rows[0]["energy_per_token_nj"] is None


def test_an_action_that_was_never_counted_has_no_energy_of_one() -> None:
    idle = replace(ENTRIES[0], count=0.0, energy_fj=0.0)
    (row,) = energy_rows([idle], config="a", model="m", phase="x", calibrated=False, tokens=4)
    assert (row["energy_per_action_fj"], row["energy_nj"]) == (None, 0.0)


def test_leakage_is_one_component_among_the_largest() -> None:
    energies = component_energies(ENTRIES)
    assert energies["leakage"] == 1.5
    assert top_components(energies) == [
        ("adc", 8 / 16),
        ("dram", 4 / 16),
        ("crossbar", 2 / 16),
    ]


def test_keys_and_values_off_the_chip_are_a_component_of_their_own() -> None:
    entries = [
        Entry("kv_read", 1, 2e6),
        Entry("kv_read", 1, 5e6, "off_chip"),
        Entry("kv_write", 1, 1e6, "off_chip"),
    ]
    assert component_energies(entries) == {"kv_read": 2.0, "kv_dram": 6.0}
    assert scale_energy(entries, tokens=1)["energy_kv_dram_nj"] == 6.0


def test_ties_among_the_largest_are_broken_by_name() -> None:
    assert [n for n, _ in top_components({"b": 1.0, "a": 1.0, "c": 0.0})] == ["a", "b"]


def test_scale_columns_sum_to_the_total_and_hide_nothing() -> None:
    columns = scale_energy(ENTRIES, tokens=2)
    assert columns["energy_adc_nj"] == 4.0
    assert columns["energy_leakage_nj"] == 0.75
    assert columns["energy_other_nj"] == 0.25
    assert columns["energy_clock_nj"] is None
    assert columns["energy_per_token_nj"] == 8.0
    assert set(columns) <= {c.name for c in SCALE.columns}


def test_every_component_has_a_family_and_a_column() -> None:
    names = {c.name for c in SCALE.columns}
    for component in COMPONENTS:
        assert component.family in FAMILIES
        assert family_of(component.name) == component.family
        assert component_column(component.name) in names
    assert family_of("leakage_noc_link") == "leakage, clock"
    assert family_of("mystery") == "other"


def test_chips_of_other_batch_sizes_share_one_table() -> None:
    run = replace(fake_run(1), schema=run_tables((1, 8, 32)))
    (row,) = run.tables()["results"]
    assert list(row) == [c.name for c in results_table((1, 8, 32)).columns]
    assert row["tpot_p50_us_b32"] is None
    assert "tpot_p50_us_b32: this chip does not run that batch size" in row["empty_because"]


def test_expert_shares_of_a_layer_sum_to_one() -> None:
    rows = fake_run(1).tables()["expert_load"]
    for stage in ("clean", "noisy", "calibrated"):
        total = sum(r[f"share_{stage}"] for r in rows if r["layer"] == 2)
        assert total == pytest.approx(1.0)


def test_short_distributions_have_no_99th_percentile_in_the_table() -> None:
    rows = fake_run(1).tables()["latency"]
    prefill = [r["percent"] for r in rows if r["phase"] == "prefill"]
    assert max(prefill) == 95
    assert max(r["percent"] for r in rows) == 100


def test_interval_of_chips_that_differ_widely_may_reach_below_one() -> None:
    row = fake_chip(0).row
    column = results_table().by_name["ppl_noisy_ci_low"]
    assert column.check(-120.0) == -120.0
    check_identities({**row, "ppl_noisy_ci_low": -120.0})
