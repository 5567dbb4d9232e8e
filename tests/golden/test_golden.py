"""Results are those that are stored; and the net itself holds."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.golden import product
from tests.golden.rows import Values, flat, table_rows
from tests.golden.store import FOLDER, compare, load, same_arithmetic, save, table
from tests.golden.subjects import SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
def test_results_are_those_stored(subject: str) -> None:
    exact = SUBJECTS[subject].exact or same_arithmetic()
    differences = compare(subject, load(subject), SUBJECTS[subject].compute(), exact=exact)
    assert not differences, "\n" + table(differences)


def test_every_file_of_values_has_a_subject() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SUBJECTS)


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


def test_another_processor_may_differ_by_what_the_table_allows_and_no_more() -> None:
    found = copy.deepcopy(STORED)
    found["results"] |= {"makespan_us": 12.500001, "ppl_noisy": 40.05}
    assert [d.column for d in compare("chip", STORED, found)] == ["makespan_us", "ppl_noisy"]
    assert compare("chip", STORED, found, exact=False) == []
    found["results"] |= {"makespan_us": 12.55, "ppl_noisy": 40.2, "tiles": 4}
    beyond = [d.column for d in compare("chip", STORED, found, exact=False)]
    assert beyond == ["makespan_us", "ppl_noisy", "tiles"]
    # Some tokens go to other experts: what follows from routing may differ more.
    found["expert_load layer 0 expert 1"]["share_noisy"] = 0.27
    beyond = [d.column for d in compare("chip", STORED, found, exact=False)]
    assert beyond == ["tiles"]
    assert len(compare("chip", STORED, found)) == 4


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
