"""Results are those that are stored; and the net itself holds."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.golden import product
from tests.golden.rows import Values, flat, table_rows
from tests.golden.store import (
    FOLDER,
    canonical_hash,
    compare,
    load,
    load_hashes,
    save,
    table,
)
from tests.golden.subjects import SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
def test_results_are_those_stored(subject: str) -> None:
    found = SUBJECTS[subject].compute()
    differences = compare(subject, load(subject), found)
    assert not differences, "\n" + table(differences)
    assert canonical_hash(found) == load_hashes()[subject]


def test_every_subject_has_a_hash_and_a_file_of_values_that_it_is_the_hash_of() -> None:
    values = {path.stem: canonical_hash(load(path.stem)) for path in FOLDER.glob("*.json")}
    assert set(values) == set(SUBJECTS)
    assert load_hashes() == values


STORED: Values = {
    "results": {"makespan_us": 12.5, "tiles": 3, "critical_resource": "tile 0", "ppl_noisy": 40.0},
    "expert_load layer 0 expert 1": {"share_noisy": 0.25},
}


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("results", "makespan_us", 12.5001),
        ("results", "tiles", 4),
        ("results", "critical_resource", "tile 1"),
        ("results", "ppl_noisy", 40.2),
        ("results", "tiles", 3.5),
        ("expert_load layer 0 expert 1", "share_noisy", 0.26),
    ],
)
def test_a_changed_value_is_reported_by_name(row: str, column: str, value: object) -> None:
    found = copy.deepcopy(STORED)
    found[row][column] = value  # type: ignore[assignment]
    (difference,) = compare("chip", STORED, found)
    said = table([difference])
    assert str(difference).startswith(f"chip | {row} | {column}: {STORED[row][column]!r} -> ")
    assert "chip: 1 values differ" in said
    assert f"{row} | {column}" in said


def test_a_stored_plan_that_takes_a_picosecond_more_is_reported_by_name() -> None:
    stored = load("engine")
    changed = copy.deepcopy(stored)
    name = sorted(stored)[7]
    makespan = stored[name]["makespan_ps"]
    assert isinstance(makespan, int)
    changed[name]["makespan_ps"] = makespan + 1
    assert [(d.row, d.column) for d in compare("engine", stored, changed)] == [
        (name, "makespan_ps")
    ]


def test_values_that_come_or_go_are_reported() -> None:
    found = copy.deepcopy(STORED)
    found["results"]["new_column"] = found["results"].pop("tiles")
    found["new row"] = {"tiles": 1}
    said = [str(d) for d in compare("chip", STORED, found)]
    assert said == [
        "chip | new row | tiles: (none) -> 1",
        "chip | results | new_column: (none) -> 3",
        "chip | results | tiles: 3 -> (none)",
    ]


def test_the_hash_sees_values_names_and_kinds_and_not_the_order_of_rows() -> None:
    stored = canonical_hash(STORED)
    assert canonical_hash(dict(reversed(STORED.items()))) == stored
    for row, column, value in (
        ("results", "tiles", 3.0),
        ("results", "tiles", "3"),
        ("results", "makespan_us", 12.50000001),
        ("results", "critical_resource", None),
        ("results 2", "tiles", 3),
    ):
        found = copy.deepcopy(STORED)
        found.setdefault(row, {})[column] = value
        same = value == 3.0 and isinstance(value, float)  # a table prints 3 for both
        assert (canonical_hash(found) == stored) is same, (row, column, value)


def test_a_renamed_column_is_no_change_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"energy": [{"config": "c", "phase": "prefill", "calibrated": "true",
                       "component": "adc", "kind": "dynamic", "energy_nj": "1.5"}]}  # fmt: skip
    new = {"energy_rows": [{"config": "c", "phase": "prefill", "calibrated": "true",
                            "component": "converter", "kind": "dynamic", "nj": "1.5"}]}  # fmt: skip
    monkeypatch.setattr(
        "tests.golden.rows.RENAMES",
        {
            "tables": {"energy_rows": "energy"},
            "columns": {"nj": "energy_nj"},
            "values": {"component": {"converter": "adc"}},
        },
    )
    assert table_rows(new) == {"energy prefill calibrated adc dynamic": {"energy_nj": 1.5}}
    assert table_rows(new) == table_rows(old)
    assert flat({"points": [{"nj": 2.5, "source": "prose"}]}) == {"points 0": {"energy_nj": 2.5}}


def test_values_are_written_in_one_order_and_read_back(tmp_path: Path) -> None:
    save("s", STORED, tmp_path)
    text = (tmp_path / "s.json").read_text()
    assert load("s", tmp_path) == STORED
    save("s", dict(reversed(STORED.items())), tmp_path)
    assert (tmp_path / "s.json").read_text() == text
    assert len(text.splitlines()) == 2 + len(STORED)


def test_a_command_line_that_fails_is_not_taken_for_a_result() -> None:
    with pytest.raises(AssertionError, match="no bundled chip of that name"):
        product.command("cimsim", "peak", "no_such_chip", "--json")
