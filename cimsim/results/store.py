"""The folder of a run: checked before computing, held by one run, written whole or not at all.

A file is written beside its place under a temporary name, flushed to disk and renamed, so
that a reader sees the old file, the new one or none. Chips are written as they finish:
after an interrupt ``chips/`` holds every finished one and the manifest says that the run
is not complete. It is complete when the report is written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.folder_lock import FolderLock, check_place, remove_temporaries
from cimsim.printable import printable
from cimsim.results.csv_file import csv_bytes
from cimsim.results.differences import differences, first_of
from cimsim.results.manifest import Manifest
from cimsim.results.packed import pack, unpack
from cimsim.results.run import CHIP_RECORDS, ChipResult, RunResults
from cimsim.results.table import Table
from cimsim.results.trace_json import CHIP_SLICES, trace_json, write_gzip
from cimsim.text_file import stored_bytes, stored_json, unusable, write_whole

__all__ = ["RunFolder"]

# What a run writes at the top of its folder; --overwrite replaces these and no other file.
RUN_FILES = (
    "report.html",
    "report.md",
    "results.csv",
    "per_layer.csv",
    "per_seed.csv",
    "pairs.csv",
    "energy.csv",
    "scale.csv",
    "peak.csv",
    "tile_load.csv",
    "expert_load.csv",
    "latency.csv",
    "resources.csv",
    "trace.json.gz",
    "config.resolved.yaml",
    "manifest.json",
    "plan.json",
)
RUN_FOLDERS = ("chips", "figures")
RUN_SUFFIXES = (".csv", ".gz", ".yaml", ".png", ".svg", ".json", ".packed")
MANIFEST = "manifest.json"
PLAN = "plan.json"
RESULT = "result.packed"


class RunFolder:
    """Where the results of one run go.

    Constructing one checks the place and changes nothing; `prepare` makes it. Both come
    before any computing.

    Args:
        out: the folder of the run: missing or empty, or `overwrite`.
        overwrite: replace the files of an earlier run; other files stay.
        resume: go on with the run that the folder holds, if it holds one.

    Raises:
        CimsimError: if the place is a file, not empty, or not writable.
    """

    def __init__(self, out: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        if overwrite and resume:
            raise CimsimError("--overwrite and --resume exclude each other", key="--resume")
        self.path = Path(out)
        self.overwrite = overwrite
        self.resumes = resume and (self.path / PLAN).is_file()
        self.prepared = False
        self._lock: FolderLock | None = None
        self._check()

    def _check(self) -> None:
        check_place(self.path)
        fresh = not self.overwrite and not self.resumes
        if self.path.is_dir() and fresh and self._entries():
            raise CimsimError(
                "the folder is not empty",
                file=self.path,
                key="--out",
                allowed="a missing or empty folder",
                hint="--overwrite replaces the run that it holds",
            )
        if self.path.is_dir() and self.overwrite and self._entries() and not self._is_ours():
            raise CimsimError(
                "the folder is not empty and holds no run, so --overwrite would replace files of "
                "somebody else",
                file=self.path,
                key="--overwrite",
                allowed="a missing or empty folder, or that of a run",
            )

    def _is_ours(self) -> bool:
        """Whether the folder is a run's: its manifest says so, or it was killed before that."""
        rest = [n for n in self._entries() if not (n.startswith(".") and n.endswith(".tmp"))]
        return not rest or _is_run(self.path / MANIFEST)

    def _entries(self) -> list[str]:
        try:
            return sorted(p.name for p in self.path.iterdir())
        except OSError as error:
            raise CimsimError(
                f"cannot be read: {error.strerror}", file=self.path, key="--out"
            ) from error

    def prepare(self, manifest: Manifest, plan: Mapping[str, object] | None = None) -> None:
        """Take the folder, clear an earlier run out of it and write the first manifest.

        Args:
            manifest: what is known before computing; its `complete` is false.
            plan: what the run is of, of plain JSON values.

        Raises:
            CimsimError: if the folder cannot be written, another run writes into it, or a run
                that is resumed is of another plan.
        """
        self._lock = FolderLock(self.path)
        try:
            self._check()  # another run may have come since
            self._begin(manifest, plan or {})
        except BaseException:
            self.release()
            raise

    def _begin(self, manifest: Manifest, plan: Mapping[str, object]) -> None:
        wanted = json.loads(json.dumps(plan))
        if self.resumes:
            self._refuse_another(wanted)
        remove_temporaries(self.path)
        if self.overwrite:
            self._clear()
        self.prepared = True
        self.write(MANIFEST, manifest.to_bytes())
        self.write(PLAN, json.dumps(wanted, indent=1))

    def reopen(self) -> tuple[Manifest, str]:
        """Take the folder of a run that was carried out; return its manifest and text's name.

        Raises:
            CimsimError: if the folder holds no run, or a run writes into it.
        """
        manifest = Manifest.read(self.path / MANIFEST)
        try:
            text_name = printable(str(stored_json(self.path / PLAN)["text_name"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CimsimError("is not the plan of a run", file=self.path / PLAN) from error
        self._lock = FolderLock(self.path)
        remove_temporaries(self.path)
        self.prepared = True
        return manifest, text_name

    def release(self) -> None:
        """Let other runs have the folder."""
        if self._lock is not None:
            self._lock.release()

    def _refuse_another(self, wanted: object) -> None:
        try:
            known = stored_json(self.path / PLAN)
        except (OSError, ValueError) as error:
            raise CimsimError("cannot be read", file=self.path / PLAN) from error
        if different := differences(known, wanted):
            raise CimsimError(
                f"the folder holds another run: {first_of(different)}",
                file=self.path,
                key="--resume",
                hint="name another folder with --out, or give the options of that run",
            )

    def _clear(self) -> None:
        """Remove the files of an earlier run, whose manifest goes last: it says whose they are."""
        try:
            for name in RUN_FILES:
                if name != MANIFEST:
                    (self.path / name).unlink(missing_ok=True)
            for name in RUN_FOLDERS:
                _clear_tree(self.path / name)
        except OSError as error:
            raise unusable(error, self.path, "cannot be overwritten") from error

    def write(self, relative: str, data: bytes | str) -> Path:
        """Write one file of the run whole.

        Args:
            relative: path inside the folder, with forward slashes.
            data: its content; text is UTF-8.
        """
        if not self.prepared:
            message = "a run folder was written before it was prepared"
            raise CimsimInternalError(message)
        path = self.path / relative
        write_whole(path, data.encode("utf-8") if isinstance(data, str) else data)
        return path

    def chip_folder(self, name: str) -> str:
        """Return the relative folder of a chip: its name, made safe for any file system."""
        safe = re.sub(r"[^A-Za-z0-9._+-]", "-", name).strip(".")
        reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", safe)
        if safe != name or reserved or len(safe) > 100:
            digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:8]
            safe = f"{safe[:100]}-{digest}".lstrip("-")
        return f"chips/{safe}"

    def write_chip(self, chip: ChipResult, schema: Sequence[Table[Any]]) -> None:
        """Write what one chip produced, as soon as it is done.

        Args:
            chip: the finished chip.
            schema: every table of the run, results.csv first.
        """
        folder = self.chip_folder(chip.name)
        rows = chip.tables(schema[0])
        self.write(f"{folder}/{RESULT}", pack(replace(chip, seconds=0.0)))
        self.write(f"{folder}/config.resolved.yaml", chip.config_yaml)
        if chip.activity is not None:
            trace = trace_json([(chip.name, chip.activity)], CHIP_SLICES)
            self.write(f"{folder}/trace.json.gz", write_gzip(trace))
        # results.csv comes last: a chip folder that has one is finished.
        for table in reversed(schema):
            if table.name in rows:
                self.write(f"{folder}/{table.name}.csv", csv_bytes(table, rows[table.name]))

    def finished_chip(self, name: str) -> ChipResult | None:
        """Return a chip that an earlier run of this folder has finished, None if there is none.

        Raises:
            DamagedError: if what it left is not whole.
        """
        path = self.path / self.chip_folder(name) / RESULT
        if not self.resumes or not path.is_file():
            return None
        found: ChipResult = unpack(stored_bytes(path), CHIP_RECORDS)
        return found

    def write_run(self, run: RunResults) -> None:
        """Write the tables of all finished chips.

        Args:
            run: what finished; may be part of what was asked for.
        """
        rows = run.tables()
        for table in run.schema:
            self.write(f"{table.name}.csv", csv_bytes(table, rows[table.name]))
        configs = [f"# chip: {json.dumps(c.name)}\n{c.config_yaml}" for c in run.chips]
        self.write("config.resolved.yaml", "---\n".join(configs))
        active = [(c.name, c.activity) for c in run.chips if c.activity is not None]
        if active:
            self.write("trace.json.gz", write_gzip(trace_json(active)))

    def write_manifest(self, manifest: Manifest) -> None:
        """Say how far the run is."""
        self.write(MANIFEST, manifest.to_bytes())


def _is_run(manifest: Path) -> bool:
    """Whether a manifest was written by this program."""
    try:
        found = stored_json(manifest)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("program") == "cimsim"


def _clear_tree(folder: Path) -> None:
    """Remove the kinds of files that a run writes below a folder, then empty folders.

    Links are never followed: a link is left as it is.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            _clear_tree(path)
        elif path.suffix in RUN_SUFFIXES:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
