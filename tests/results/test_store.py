"""The folder of a run: refused early, written whole, the same bytes every time."""

from __future__ import annotations

import gzip
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_run import fake_chip, fake_run

from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.results import PAIRS, Manifest, RunFolder, rows_from_csv
from cimsim.results.store import RUN_FILES
from cimsim.stages.columns.registry import run_tables
from cimsim.text_file import write_whole

CHIP_TABLES = [t for t in run_tables() if t is not PAIRS]  # pairs are of a run

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _manifest(finished: tuple[str, ...] = (), *, reported: bool = False) -> Manifest:
    chips = ("isaac", "eflash_40nm")
    command = ("cimsim", "run")
    return Manifest("ab" * 32, command, STARTED, chips, finished, reported=reported)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _write(folder: Path) -> None:
    store = RunFolder(folder)
    store.prepare(_manifest(), {"text_name": "heldout.txt"})
    run = fake_run(2)
    for chip in run.chips:
        store.write_chip(chip, run.schema)
    store.write_run(run)
    store.write_manifest(_manifest(("isaac", "eflash_40nm"), reported=True))


def test_missing_and_empty_folders_are_fine_and_untouched_by_the_check(tmp_path: Path) -> None:
    RunFolder(tmp_path)
    RunFolder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_empty_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CimsimError, match=r"not empty.*--overwrite"):
        RunFolder(tmp_path)
    assert _files(tmp_path) == {"notes.txt": b"mine"}


def test_file_in_the_way_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.write_text("")
    with pytest.raises(CimsimError, match="is a file"):
        RunFolder(place, overwrite=True)
    with pytest.raises(CimsimError, match="not a writable folder"):
        RunFolder(place / "below")


def test_unwritable_place_is_a_user_error(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(CimsimError, match="cannot be written"):
        write_whole(place / "x.csv", b"1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CimsimError, match="not a writable folder"):
        RunFolder(tmp_path / "out")
    tmp_path.chmod(0o700)


def test_overwrite_replaces_a_run_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    out = tmp_path / "run"
    _write(out)
    (out / "notes.txt").write_text("mine")
    (out / "chips" / "old" / "deep").mkdir(parents=True)
    (out / "chips" / "old" / "results.csv").write_text("old")
    (out / "chips" / "isaac" / "paper.tex").write_text("mine")
    again = RunFolder(out, overwrite=True)
    assert (out / "results.csv").exists()
    again.prepare(_manifest())
    left = _files(out)
    assert sorted(left) == ["chips/isaac/paper.tex", "manifest.json", "notes.txt", "plan.json"]
    assert json.loads(left["manifest.json"])["complete"] is False


@pytest.mark.parametrize("manifest", ['{"program": "other"}', "[]", "", None])
def test_overwrite_of_a_folder_that_is_no_run_is_refused(
    manifest: str | None, tmp_path: Path
) -> None:
    (tmp_path / "results.csv").write_bytes(b"mine")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    before = _files(tmp_path)
    with pytest.raises(CimsimError, match="holds no run"):
        RunFolder(tmp_path, overwrite=True)
    assert _files(tmp_path) == before


def test_a_folder_is_written_by_one_run_at_a_time(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run")
    second = RunFolder(tmp_path / "run")  # both find it free
    first.prepare(_manifest())
    with pytest.raises(CimsimError, match="another run writes into the folder"):
        second.prepare(_manifest())
    first.release()
    with pytest.raises(CimsimError, match="not empty"):
        second.prepare(_manifest())
    RunFolder(tmp_path / "run", overwrite=True).prepare(_manifest())


def test_what_a_killed_run_was_writing_goes(tmp_path: Path) -> None:
    _write(tmp_path / "run")
    before = _files(tmp_path / "run")
    (tmp_path / "run" / "chips" / "isaac" / ".results.csv.123.tmp").write_bytes(b"half")
    RunFolder(tmp_path / "run", resume=True).reopen()
    assert _files(tmp_path / "run") == before


def test_a_run_is_complete_when_its_report_is_written(tmp_path: Path) -> None:
    every_chip = _manifest(("isaac", "eflash_40nm"))
    assert not every_chip.complete
    assert replace(every_chip, reported=True).complete
    assert not _manifest(("isaac",), reported=True).complete


def test_overwrite_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "results.csv").write_text("mine")
    out = tmp_path / "run"
    _write(out)
    (out / "figures").mkdir()
    (out / "figures" / "link").symlink_to(outside, target_is_directory=True)
    RunFolder(out, overwrite=True).prepare(_manifest())
    assert (outside / "results.csv").read_text() == "mine"


def test_writing_before_preparing_is_our_bug(tmp_path: Path) -> None:
    with pytest.raises(CimsimInternalError, match="before it was prepared"):
        RunFolder(tmp_path).write("a.csv", "x")


def test_interrupted_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "results.csv"
    write_whole(place, b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(place, b"new")
    assert _files(tmp_path) == {"results.csv": b"old"}


def test_full_disk_is_a_user_error_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "results.csv"
    write_whole(place, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CimsimError, match="No space left"):
        write_whole(place, b"new")
    assert _files(tmp_path) == {"results.csv": b"old"}


def test_finished_chips_are_readable_after_an_interrupt(tmp_path: Path) -> None:
    store = RunFolder(tmp_path / "run")
    store.prepare(_manifest())
    store.write_chip(fake_chip(0), run_tables())
    for table in CHIP_TABLES:
        data = (tmp_path / "run" / "chips" / "isaac" / f"{table.name}.csv").read_bytes()
        assert rows_from_csv(table, data)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_bytes())
    assert manifest["complete"] is False
    assert manifest["chips"] == ["isaac", "eflash_40nm"]


def test_run_folder_holds_the_files_that_it_may_clear(tmp_path: Path) -> None:
    _write(tmp_path / "run")
    top = {p.name for p in (tmp_path / "run").iterdir() if p.is_file()}
    assert top == set(RUN_FILES) - {"report.html", "report.md"}


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    _write(tmp_path / "a")
    _write(tmp_path / "b")
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_tables_of_the_run_are_those_of_its_chips_in_order(tmp_path: Path) -> None:
    _write(tmp_path / "run")
    for table in CHIP_TABLES:
        whole = (tmp_path / "run" / f"{table.name}.csv").read_bytes()
        parts = [
            (tmp_path / "run" / "chips" / c / f"{table.name}.csv").read_bytes().split(b"\n", 1)
            for c in ("isaac", "eflash_40nm")
        ]
        assert whole == parts[0][0] + b"\n" + parts[0][1] + parts[1][1]


def test_manifest_says_when_and_with_what(tmp_path: Path) -> None:
    _write(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_bytes())
    assert manifest["complete"] is True
    assert manifest["started"] == "2026-01-02T03:04:05+00:00"
    assert manifest["packages"]["numpy"][0].isdigit()
    assert str(tmp_path) not in (tmp_path / "run" / "manifest.json").read_text()


def test_no_table_holds_a_date_a_path_or_wall_time(tmp_path: Path) -> None:
    _write(tmp_path / "run")
    for path in (tmp_path / "run").rglob("*.csv"):
        text = path.read_text()
        assert str(tmp_path) not in text
        assert "2026-01" not in text
        assert "seconds" not in text


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "..", ".hidden", "con", "nul.txt", "x" * 200, "büro chip"]
)
def test_chip_folder_stays_below_chips(tmp_path: Path, name: str) -> None:
    relative = RunFolder(tmp_path).chip_folder(name)
    head, _, tail = relative.partition("/")
    assert head == "chips"
    assert tail
    assert "/" not in tail
    assert not tail.startswith(".")
    assert len(tail) < 128
    assert tail.isascii()


def test_names_that_look_alike_get_folders_of_their_own(tmp_path: Path) -> None:
    store = RunFolder(tmp_path)
    names = ["a b", "a-b", "a/b", "a.b", ".a.b"]
    assert len({store.chip_folder(n) for n in names}) == len(names)


def test_merged_trace_keeps_chips_apart(tmp_path: Path) -> None:
    _write(tmp_path / "run")
    trace = json.loads(gzip.decompress((tmp_path / "run" / "trace.json.gz").read_bytes()))
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    assert {n.split()[0] for n in names} == {"isaac", "eflash_40nm"}
