"""The folder of a sweep: every finished point on disk before it is reported.

``plan.json`` says what the folder holds the points of; ``points/NAME/chip.yaml`` is a resolved
chip and ``points/NAME/rung0.json`` what evaluating it gave, written whole with a checksum. The
same command goes on where the last one was stopped, whatever stopped it. Tables and reports are
made of the points and may be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cimsim.config.load import config_hash, dump_yaml, find_chip, load_chip
from cimsim.config.sweep import SweepPlan
from cimsim.errors import CimsimError
from cimsim.folder_lock import FolderLock, check_place, remove_temporaries
from cimsim.results.code_version import code_version
from cimsim.results.differences import differences, first_of
from cimsim.sweeps.points import Point
from cimsim.sweeps.tasks import Evaluated
from cimsim.text_file import stored_json, write_whole

__all__ = ["SweepFolder", "plan_identity"]

PLAN = "plan.json"


def plan_identity(plan: SweepPlan, *, search: bool = False) -> dict[str, Any]:
    """Return everything that decides the points of a plan and their numbers.

    Args:
        plan: the plan.
        search: whether points are searched for.
    """
    knobs = plan.model_dump(mode="json", exclude={"name", "description", "search"})
    if search:
        knobs["search"] = plan.search.model_dump(mode="json", exclude={"trials"})
    # What is wanted decides which points go on where fidelity rises, and nothing else.
    if not plan.fidelity and not search:
        for wanted in ("objectives", "constraints"):
            del knobs[wanted]
    files = {name: config_hash(load_chip(find_chip(name))) for name in plan.chips}
    return {"code": code_version(), **knobs, "chips": files}


class SweepFolder:
    """Where the points of a sweep go.

    Constructing one checks the place and changes nothing; `begin` makes it.

    Args:
        path: the folder: missing, empty, or of the same plan.
        identity: what decides its points.

    Raises:
        CimsimError: if the place is something else, or holds the points of another plan.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._identity = json.loads(json.dumps(identity))
        self.corrupt: list[str] = []
        self._lock: FolderLock | None = None
        self._check()

    @property
    def resumes(self) -> bool:
        """Whether points may be there already."""
        return (self.path / PLAN).is_file()

    def _check(self) -> None:
        check_place(self.path)
        if not self.resumes:
            if self.path.is_dir() and any(self.path.iterdir()):
                raise CimsimError(
                    "the folder is not empty, and holds no sweep",
                    file=self.path,
                    key="--out",
                    allowed="a missing or empty folder, or that of the same plan",
                )
            return
        try:
            known = stored_json(self.path / PLAN)
        except (OSError, ValueError) as error:
            raise CimsimError("cannot be read", file=self.path / PLAN) from error
        different = differences(known, self._identity)
        if different:
            raise CimsimError(
                f"the folder holds the points of another plan: {first_of(different)}",
                file=self.path,
                key="--out",
                hint="name another folder, or change the plan back",
            )

    def begin(self) -> None:
        """Take the folder, which is made if it is missing, and write what it is for.

        Raises:
            CimsimError: if it cannot be written, or another sweep writes into it.
        """
        self._lock = FolderLock(self.path)
        self._check()  # another sweep may have come between
        remove_temporaries(self.path)
        if not self.resumes:
            self.write(PLAN, json.dumps(self._identity, indent=1).encode())

    def write(self, relative: str, data: bytes) -> Path:
        """Write one file whole."""
        path = self.path / relative
        write_whole(path, data)
        return path

    def chip_file(self, point: Point) -> str:
        """Return the relative path of a point's resolved chip."""
        return f"points/{point.name}/chip.yaml"

    def keep(self, point: Point, rung: int, found: Evaluated) -> None:
        """Put a finished point on disk."""
        chip = self.path / self.chip_file(point)
        if not chip.is_file():
            self.write(self.chip_file(point), dump_yaml(point.config).encode())
        body = json.dumps({"row": found.row, "seconds": found.seconds})
        text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest()})[:-1]
        self.write(_place(point, rung), f'{text}, "point": {body}}}\n'.encode())

    def find(self, point: Point, rung: int) -> Evaluated | None:
        """Return what a finished point gave, or None; a damaged file is noted and not used."""
        path = self.path / _place(point, rung)
        if not path.is_file():
            return None
        found = _intact(path)
        if found is None:
            self.corrupt.append(str(path))
        return found


def _intact(path: Path) -> Evaluated | None:
    """Return what a file says, None if it is not what was written."""
    try:
        found = stored_json(path)
        point = found["point"]
        digest = hashlib.sha256(json.dumps(point).encode()).hexdigest()
        known = Evaluated(dict(point["row"]), float(point["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if digest == found["sha256"] else None


def _place(point: Point, rung: int) -> str:
    return f"points/{point.name}/rung{rung}.json"
