"""Entries on disk: whole or not there, bounded, shared, and repaired."""

from __future__ import annotations

import errno
import os
import pwd
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from cimsim.cache import StageCache, Store, cache_folder
from cimsim.cache.store import why_unusable
from cimsim.config import Tile
from cimsim.errors import CimsimError

KEY = "ab" * 32


def files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


def test_a_value_is_found_again_none_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.get("s", KEY, ()) is None
    store.put("s", KEY, None)
    assert Store(tmp_path).get("s", KEY, ()) == (None,)
    assert store.get("other", KEY, ()) is None
    (size,) = store.sizes()
    assert (size.stage, size.entries) == ("s", 1)


def test_a_damaged_entry_is_said_removed_and_can_be_kept_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("s", KEY, [1, 2])
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="is damaged .* it is computed again"):
        assert store.get("s", KEY, ()) is None
    assert not files(tmp_path)
    store.put("s", KEY, [1, 2])
    assert store.get("s", KEY, ()) == ([1, 2],)


@pytest.mark.parametrize("place", ["", "v1", "v1/s"])
def test_a_cache_that_another_user_keeps_to_himself_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    Store(tmp_path).put("s", KEY, 1)
    assert why_unusable(tmp_path) is None
    closed, may = tmp_path / place, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and may(path, mode))
    assert why_unusable(tmp_path) == f"{closed} cannot be written"


def test_who_has_no_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CIMSIM_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert why_unusable(cache_folder()) == f"{os.devnull}/cimsim: Not a directory"


def test_verify_finds_and_removes_damage_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("s", KEY, 1)
    store.put("s", "cd" * 32, 2)
    (path,) = (p for p in files(tmp_path) if p.name == KEY)
    path.write_bytes(b"nonsense")
    assert list(store.damaged()) == [path]
    assert [p.name for p in files(tmp_path)] == ["cd" * 32]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(CimsimError, match="No space left on device") as refused:
            store.put("s", KEY, np.zeros(1000))
    assert "--no-cache" in refused.value.sentence()
    assert not files(tmp_path)
    assert store.get("s", KEY, ()) is None


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    noise = np.random.Generator(np.random.Philox(1))
    store = Store(tmp_path, most_bytes=10_000)
    names = [f"{i:02d}" * 32 for i in range(20)]
    for number, name in enumerate(names):
        store.put("s", name, noise.bytes(600).hex())
        os.utime(next(p for p in files(tmp_path) if p.name == name), (number, number))
        if number > 3:
            assert store.get("s", names[0], ()) is not None  # used again and again
    kept = {p.name for p in files(tmp_path)}
    assert sum(p.stat().st_size for p in files(tmp_path)) <= 10_000
    assert names[0] in kept
    assert names[-1] in kept
    assert names[1] not in kept


def in_two_processes(target: Callable[[Path], None], folder: Path) -> None:
    context = get_context("spawn")
    processes = [context.Process(target=target, args=(folder,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _fill(folder: Path) -> None:
    store = Store(folder, most_bytes=20_000)
    for i in range(60):
        name = f"{i % 30:02d}" * 32
        found = store.get("s", name, ())
        if found is not None:
            assert found[0] == [i % 30] * 500
        store.put("s", name, [i % 30] * 500)
        store.add_reads("s", f"r{i % 3}", [f"config.{i % 3}"])


def test_processes_share_a_folder(tmp_path: Path) -> None:
    in_two_processes(_fill, tmp_path)
    store = Store(tmp_path)
    assert not list(store.damaged())
    assert store.read_sets("s") == [("config.0",), ("config.1",), ("config.2",)]
    assert not [p for p in files(tmp_path) if p.name.startswith(".")]


def _slowly(folder: Path) -> None:
    stages = StageCache(Store(folder), ()).watch(chip=Tile())
    view = stages.views["chip"]

    def compute() -> int:
        (folder / f"computed by {os.getpid()}").touch()
        time.sleep(1.0)
        return int(view.pes)

    assert stages.recall("s", {}, compute) == Tile().pes


def test_of_processes_that_want_one_value_one_computes_it(tmp_path: Path) -> None:
    stages = StageCache(Store(tmp_path), ()).watch(chip=Tile(pes=3))
    stages.recall("s", {}, lambda: stages.views["chip"].pes)  # which fields are read is known
    in_two_processes(_slowly, tmp_path)
    assert len(list(tmp_path.glob("computed by *"))) == 1
    assert list(tmp_path.glob("v*/*/claims/*")) == []


def test_clear_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    store = Store(tmp_path)
    store.put("s", KEY, 1)
    store.add_reads("s", "r", [])
    assert store.clear() == 1
    assert [p.name for p in files(tmp_path)] == ["mine.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
