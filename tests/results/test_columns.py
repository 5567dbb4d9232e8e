"""Columns and tables: every name of a run, and rows that may not be written."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.results import (
    Column,
    Empty,
    Table,
    csv_bytes,
    rows_from_csv,
)
from cimsim.results.column import EMPTY_BECAUSE, number
from cimsim.stages.columns import registry
from cimsim.stages.columns.registry import (
    find_columns,
    register_column,
    results_table,
    run_tables,
)
from cimsim.stages.explain import explain

# The names that users of results.csv rely on.
PROMISED = [
    "config",
    "chip_hash",
    "model",
    "tokens",
    "chip_seeds",
    "mapper",
    "calibrator",
    "tile_mode",
    "ppl_float",
    "ppl_ideal_int",
    "ppl_noisy_mean",
    "ppl_noisy_ci_low",
    "ppl_noisy_ci_high",
    "ppl_calibrated_mean",
    "ppl_calibrated_ci_low",
    "ppl_calibrated_ci_high",
    "ppl_unigram",
    "bits_per_byte_float",
    "bits_per_byte_noisy",
    "bits_per_byte_calibrated",
    "destroyed",
    "destroyed_calibrated",
    "topk_agreement",
    "topk_agreement_calibrated",
    "expert_load_cv",
    "expert_load_cv_calibrated",
    "tile_load_max_over_mean",
    "latency_p50_us",
    "latency_p99_us",
    "tokens_per_s",
    "energy_per_token_nj",
    "energy_dynamic_per_token_nj",
    "energy_leakage_per_token_nj",
    "energy_top1_name",
    "energy_top1_share",
    "energy_top2_name",
    "energy_top2_share",
    "energy_top3_name",
    "energy_top3_share",
    "tops_per_w",
    "area_mm2",
    "tokens_per_s_per_mm2",
    "expert_switch_bytes",
    "expert_switch_energy_nj",
    "adc_clip_rate",
    "prefill_tokens_per_s",
    "ttft_p50_us",
    "tpot_p50_us_b1",
    "tpot_p99_us_b1",
    "decode_tokens_per_s_b1",
    "decode_energy_per_token_nj_b1",
    "tpot_p50_us_b8",
    "tpot_p99_us_b8",
    "decode_tokens_per_s_b8",
    "decode_energy_per_token_nj_b8",
    "makespan_us",
    "cells_written",
    "avg_power_w",
    "peak_power_w",
    "power_density_w_per_mm2",
    "chips",
    "chip_link_bytes_per_token",
    "io_bytes_per_token",
    "dies",
    "cell_utilisation",
    "leakage_coverage",
    "weight_bits",
    "input_bits",
    "adc_bits",
    "latency_p50_us_calibrated",
    "latency_p99_us_calibrated",
    "tokens_per_s_calibrated",
    "energy_per_token_nj_calibrated",
    "tile_load_max_over_mean_calibrated",
    "critical_resource",
]

SMALL = Table(
    "small",
    "For tests.",
    (
        Column("name", "", "text", "A name."),
        Column("size_mm2", "mm2", "number", "A size.", minimum=0.0, maximum=10.0),
        Column("tiles", "1", "integer", "A count.", empty=(Empty("unknown"),)),
        Column("calibrated", "", "flag", "A flag."),
        Column(EMPTY_BECAUSE, "", "text", "Reasons."),
    ),
)
GOOD = {"name": "isaac", "size_mm2": 1.5, "tiles": 3, "calibrated": True}


def test_results_table_has_every_promised_name() -> None:
    names = [c.name for c in results_table().columns]
    assert [n for n in PROMISED if n not in names] == []


def test_column_names_of_a_table_are_unique_and_documented() -> None:
    for table in run_tables():
        names = [c.name for c in table.columns]
        assert len(names) == len(set(names))
        assert all(c.meaning.endswith(".") for c in table.columns)
        assert all((c.unit == "") == (c.type in {"text", "flag"}) for c in table.columns)


def test_physical_columns_end_in_their_unit() -> None:
    suffix = {"us": "_us", "nJ": "_nj", "mm2": "_mm2", "W": "_w", "fJ": "_fj", "nm": "_nm"}
    for table in run_tables():
        for column in table.columns:
            if column.unit in suffix:
                base = re.sub(r"(_calibrated|_round_robin|_b\d+)$", "", column.name)
                assert base.endswith(suffix[column.unit]), column.name


def test_batch_sizes_name_their_columns() -> None:
    names = [c.name for c in results_table((2, 16)).columns]
    assert "tpot_p99_us_b16" in names
    assert "decode_energy_per_token_nj_b2" in names
    assert "tpot_p50_us_b8" not in names


def test_row_comes_back_in_column_order_with_plain_types() -> None:
    cells = {
        "calibrated": np.bool_(True),
        "tiles": np.int64(3),
        "size_mm2": np.float32(1.5),
        "name": "isaac",
    }
    row = SMALL.row(cells)
    assert list(row) == ["name", "size_mm2", "tiles", "calibrated", EMPTY_BECAUSE]
    assert [type(v) for v in row.values()] == [str, float, int, bool, str]
    assert row[EMPTY_BECAUSE] == ""


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("size_mm2", math.nan, "finite"),
        ("size_mm2", math.inf, "finite"),
        ("size_mm2", "1.5", "number"),
        ("size_mm2", True, "number"),
        ("size_mm2", -0.1, "at least 0"),
        ("size_mm2", 10.5, "at most 10"),
        ("size_mm2", None, "empty"),
        ("tiles", 2.5, "whole"),
        ("tiles", False, "number"),
        ("calibrated", 1, "true or false"),
        ("name", 3, "text"),
    ],
)
def test_wrong_cell_is_refused(column: str, value: object, message: str) -> None:
    with pytest.raises(CimsimInternalError, match=message):
        SMALL.row({**GOOD, column: value})


def test_missing_and_unknown_columns_are_refused_by_name() -> None:
    with pytest.raises(CimsimInternalError, match=r"missing \['tiles'\], unknown \['tilse'\]"):
        SMALL.row({"name": "a", "size_mm2": 1.0, "tilse": 1, "calibrated": False})


def test_empty_cell_needs_exactly_its_own_reason() -> None:
    row = SMALL.row({**GOOD, "tiles": None}, {"tiles": "not counted"})
    assert row[EMPTY_BECAUSE] == "tiles: not counted"
    with pytest.raises(CimsimInternalError, match="one reason each"):
        SMALL.row({**GOOD, "tiles": None})
    with pytest.raises(CimsimInternalError, match="one reason each"):
        SMALL.row({**GOOD, "tiles": None}, {"tiles": ""})
    with pytest.raises(CimsimInternalError, match="one reason each"):
        SMALL.row(GOOD, {"tiles": "not counted"})


def test_csv_bytes_are_exactly_these() -> None:
    rows = [
        SMALL.row({"name": 'a "b", c', "size_mm2": 1 / 3, "tiles": 12, "calibrated": True}),
        SMALL.row(
            {"name": "d", "size_mm2": 1e-7, "tiles": None, "calibrated": False}, {"tiles": "why"}
        ),
        SMALL.row({"name": "e", "size_mm2": -0.0, "tiles": 0, "calibrated": False}),
    ]
    assert csv_bytes(SMALL, rows) == (
        b"name,size_mm2,tiles,calibrated,empty_because\n"
        b'"a ""b"", c",0.3333333333,12,true,\n'
        b"d,1e-07,,false,tiles: why\n"
        b"e,0,0,false,\n"
    )


@given(
    st.lists(
        st.tuples(
            st.text(),
            st.floats(0, 10),
            st.one_of(st.none(), st.integers(0, 2**63 - 1)),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_csv_reads_back_to_the_same_bytes(cells: list[tuple[str, float, int | None, bool]]) -> None:
    rows = [
        SMALL.row(
            {"name": n, "size_mm2": s, "tiles": t, "calibrated": c},
            {"tiles": "unknown"} if t is None else None,
        )
        for n, s, t, c in cells
    ]
    data = csv_bytes(SMALL, rows)
    again = rows_from_csv(SMALL, data)
    assert csv_bytes(SMALL, again) == data
    assert [r["name"] for r in again] == [r["name"] for r in rows]
    assert [r["tiles"] for r in again] == [r["tiles"] for r in rows]


def test_foreign_csv_is_refused() -> None:
    with pytest.raises(CimsimInternalError, match=r"not a small\.csv"):
        rows_from_csv(SMALL, b"name,other\n")
    with pytest.raises(CimsimInternalError, match="not a number"):
        rows_from_csv(SMALL, b"name,size_mm2,tiles,calibrated,empty_because\na,x,1,true,\n")


def test_frame_has_typed_columns() -> None:
    rows = [SMALL.row(GOOD), SMALL.row({**GOOD, "tiles": None}, {"tiles": "why"})]
    frame = SMALL.frame(rows)
    assert str(frame["tiles"].dtype) == "Int64"
    assert str(frame["calibrated"].dtype) == "boolean"
    assert frame["tiles"].isna().tolist() == [False, True]


def test_explain_says_unit_meaning_formula_and_range() -> None:
    ((table, column),) = find_columns("results.tops_per_w")
    text = column.explained(table.name)
    assert "column of results.csv" in text
    assert "unit: TOPS/W" in text
    assert "formula: 2 x macs_per_token" in text
    assert "better: higher" in text


def test_column_of_several_tables_is_found_in_each() -> None:
    assert [t.name for t, _ in find_columns("tops_per_w")] == ["results", "scale"]


def test_misspelt_column_gets_the_nearest_name() -> None:
    with pytest.raises(CimsimError, match="did you mean 'latency_p50_us'"):
        explain("latency_p50_uss", load_chip(find_chip("isaac")))


def test_text_of_several_lines_becomes_one() -> None:
    row = SMALL.row({**GOOD, "name": "a\r\nb\tc\x00\ud800 "})
    assert row["name"] == "a b c ?"


MEASURED: Table[dict[str, float | None]] = Table(
    "measured",
    "For tests.",
    (
        number("size", "1", "A size.", lambda s: s["size"]),
        number(
            "rate",
            "1",
            "A rate.",
            lambda s: Empty("idle") if s["rate"] == 0.0 else s["rate"],
            Empty("idle"),
            Empty("off"),
        ),
        Column(EMPTY_BECAUSE, "", "text", "Reasons."),
    ),
)


def test_a_row_is_measured_column_by_column_with_its_reasons() -> None:
    assert MEASURED.measure({"size": 2, "rate": 0.5}) == {
        "size": 2.0,
        "rate": 0.5,
        EMPTY_BECAUSE: "",
    }
    row = MEASURED.measure({"size": 2, "rate": 0.0})
    assert (row["rate"], row[EMPTY_BECAUSE]) == (None, "rate: idle")
    assert MEASURED.by_name["rate"].empty_when == "idle, or off"


@pytest.mark.parametrize("subject", [{"size": 1, "rate": None}, {"size": None, "rate": 1.0}])
def test_an_empty_cell_without_a_declared_reason_is_our_bug(
    subject: dict[str, float | None],
) -> None:
    with pytest.raises(CimsimInternalError, match="may not be empty"):
        MEASURED.measure(subject)


def test_a_reason_that_is_not_declared_is_our_bug() -> None:
    column = number("rate", "1", "A rate.", lambda _: Empty("broken"), Empty("idle"))
    with pytest.raises(CimsimInternalError, match="broken"):
        column.measure(None)


def test_a_plug_in_adds_a_column_to_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ADDED", {})
    column = number("tokens_per_j", "token/J", "Tokens per joule.", lambda m: m, better="higher")
    register_column("results", column)
    names = [c.name for c in results_table((2, 4)).columns]
    assert names[-2:] == ["tokens_per_j", EMPTY_BECAUSE]
    ((table, found),) = find_columns("tokens_per_j")
    assert "unit: token/J" in found.explained(table.name)
    assert found.measure(12.5) == 12.5
    with pytest.raises(CimsimError, match="is a column already"):
        register_column("results", column)


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("latency", number("a", "1", "A.", lambda s: s), "takes no further columns"),
        ("results", number("a", "1", "A."), "has no value"),
        ("results", number("area_mm2", "mm2", "A.", lambda s: s), "is a column already"),
    ],
)
def test_columns_that_cannot_be_added_are_refused(table: str, column: Column, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        register_column(table, column)
