"""Older formats are refused with the new names, and rewritten without touching anything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.config.knobs import find_knobs
from cimsim.config.load import load_chip
from cimsim.config.migration import RENAMED, migrate_text
from cimsim.errors import CimsimError

OLD = """\
# A chip of the first format.
cimsim: 1  # the format
extends: isaac
memory: {channel_gbps: 12.5, channels: 2}   # GB/s
system:
  chips: 2
  link:
    "gbps": 7
run:
    engine: reference  # gbps: not this one
"""
NEW = """\
# A chip of the first format.
cimsim: 2  # the format
extends: isaac
memory: {channel_gb_per_s: 12.5, channels: 2}   # GB/s
system:
  chips: 2
  link:
    "gb_per_s": 7
run:
    engine: simpy  # gbps: not this one
"""


def test_only_old_names_are_rewritten_and_the_file_then_loads(tmp_path: Path) -> None:
    text, changes = migrate_text(OLD, "old.yaml")
    assert text == NEW
    assert [str(c) for c in changes] == [
        "line 2: cimsim: 1 -> 2",
        "line 4: memory.channel_gbps: channel_gbps -> channel_gb_per_s",
        "line 8: system.link.gbps: gbps -> gb_per_s",
        "line 10: run.engine: reference -> simpy",
    ]
    path = tmp_path / "new.yaml"
    path.write_text(text, encoding="utf-8")
    chip = load_chip(path)
    assert (chip.memory.channel_gb_per_s, chip.system.link.gb_per_s) == (12.5, 7.0)
    assert chip.run.engine == "simpy"
    assert migrate_text(text, "new.yaml") == (text, [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OLD, ("2:1", "cimsim", "memory.channel_gbps (now memory.channel_gb_per_s)",
               "run.engine: reference (now simpy)", "cimsim migrate")),
        ("cimsim: 1\nextends: isaac\n", ("older format", "allowed: 2", "cimsim migrate")),
        ("extends: isaac\nmemory: {channel_gbps: 1}\n",
         ("memory.channel_gbps", "it is now memory.channel_gb_per_s")),
        ("extends: isaac\nrun: {engine: reference}\n", ("run.engine", "it is now 'simpy'")),
        ("cimsim: 3\nextends: isaac\n", ("cimsim", "found 3")),
    ],
)  # fmt: skip
def test_a_file_with_old_names_is_refused_with_the_new_ones(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CimsimError) as refused:
        load_chip(path)
    for word in words:
        assert word in str(refused.value)


def test_an_old_parent_is_refused_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("cimsim: 1\nextends: isaac\n", encoding="utf-8")
    child = tmp_path / "child.yaml"
    child.write_text("cimsim: 2\nextends: parent.yaml\n", encoding="utf-8")
    with pytest.raises(CimsimError, match=r"parent\.yaml:1:1: cimsim: is an older format"):
        load_chip(child)


@pytest.mark.parametrize(
    ("override", "now"),
    [
        ("memory.channel_gbps=3", "it is now memory.channel_gb_per_s"),
        ("system.link.gbps=3", "it is now system.link.gb_per_s"),
        ("run.engine=reference", "it is now 'simpy'"),
    ],
)
def test_an_old_override_is_refused_with_the_new_name(
    tmp_path: Path, override: str, now: str
) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text("extends: isaac\n", encoding="utf-8")
    with pytest.raises(CimsimError, match=now):
        load_chip(path, (override,))


def test_every_new_name_is_a_knob_and_no_old_one_is() -> None:
    knobs = {knob.path: knob for knob in find_knobs()}
    for renamed in RENAMED.values():
        for path, name in renamed.keys.items():
            assert path not in knobs
            assert ".".join([*path.split(".")[:-1], name]) in knobs
        for path, words in renamed.values.items():
            kinds = knobs[path].type_name.split(" | ")
            assert set(words.values()) <= set(kinds)
            assert not set(words) & set(kinds)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_comments_and_strings_pass_unchanged(words: str) -> None:
    text = f"# {words}\ncimsim: 1\nname: {words!r}\n" if "'" not in words else f"# {words}\n"
    if "cimsim" not in text.split("\n", 1)[1]:
        text += "cimsim: 1\n"
    try:
        found, _ = migrate_text(text, "x.yaml")
    except CimsimError:
        return  # what YAML cannot read is refused, not rewritten
    assert found == text.replace("\ncimsim: 1\n", "\ncimsim: 2\n")


def _migrate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cimsim", "migrate", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_command_rewrites_files_in_place_or_says_what_it_would_do(tmp_path: Path) -> None:
    path = tmp_path / "my chip.yaml"
    path.write_text(OLD, encoding="utf-8")
    dry = _migrate("my chip.yaml", "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0
    assert "my chip.yaml: 4 changes" in dry.stdout
    assert path.read_text(encoding="utf-8") == OLD
    assert _migrate("my chip.yaml", cwd=tmp_path).stdout == dry.stdout
    assert path.read_text(encoding="utf-8") == NEW
    assert _migrate("my chip.yaml", cwd=tmp_path).stdout == "my chip.yaml: no changes\n"


def test_one_bad_file_leaves_all_files_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text("cimsim: [", encoding="utf-8")
    found = _migrate("old.yaml", "bad.yaml", cwd=tmp_path)
    assert found.returncode == 2
    assert "bad.yaml" in found.stderr
    assert (tmp_path / "old.yaml").read_text(encoding="utf-8") == OLD
