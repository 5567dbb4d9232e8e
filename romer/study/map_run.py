"""The map from plan to page: every treatment of every chip of every place, then sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.stages.models import open_model
from cimsim.sweeps.open_executor import open_executor
from romer.study.cells import Cell
from romer.study.folders import model_folders
from romer.study.jobs import StudyJob
from romer.study.known_rows import read_known
from romer.study.map_page import write_map
from romer.study.map_plan import MapPlan, Place
from romer.study.map_tables import PlaceMeasurement, cell_of, map_rows
from romer.study.measure import configure
from romer.study.measuring import Measuring
from romer.study.records import Records
from romer.study.worker import Setting

__all__ = ["MapStudy"]


@dataclass(frozen=True)
class _Jobs:
    """The records of one place.

    Attributes:
        place: the place.
        shared: what all its chips share.
        treated: by treatment, of every chip; "noisy" is the untreated chip.
    """

    place: Place
    shared: StudyJob
    treated: dict[str, tuple[StudyJob, ...]]

    @property
    def all(self) -> list[StudyJob]:
        """Every job, a chip's together."""
        return [
            self.shared,
            *(j for chips in zip(*self.treated.values(), strict=True) for j in chips),
        ]


class MapStudy:
    """A plan of the map carried out in a folder; what the folder holds is not measured again.

    Args:
        plan: what to do.
        out: folder of the tables, figures, the page and the cache.
        models_dir: folder that holds the models which are not bundled, or None.
        known: tables of the same plan from other folders; their cells are not measured here, and
            models of such cells alone need not be there.
        jobs: processes at once.
        cluster: Dask cluster to measure on, or None for this machine.
        seconds: no measurement is begun after so many seconds; None measures all.
        say: told what is under way.

    Raises:
        CimsimError: if the folder cannot be used, or a place cannot be measured.
    """

    def __init__(
        self,
        plan: MapPlan,
        out: Path,
        *,
        models_dir: Path | None = None,
        known: Sequence[Path] = (),
        jobs: int = 1,
        cluster: str | None = None,
        seconds: float | None = None,
        say: Callable[[str], None],
    ) -> None:
        if out.exists() and not out.is_dir():
            raise CimsimError("is not a folder", file=out, key="--out")
        self._plan, self._out, self._say = plan, out, say
        self._jobs, self._cluster = jobs, cluster
        self._until = float("inf") if seconds is None else time.time() + seconds
        self._known = read_known(known, plan)
        self._here = [p for p in plan.places() if p.cell not in self._known]
        folders = _folders([p.model for p in self._here], models_dir)
        hashes = {name: open_model(folder).hash for name, folder in folders.items()}
        for place in self._here:
            configure(plan["chip"], place.kind)  # a slip of the plan costs no measurement
        scored = {"fresh_tokens": plan["test_tokens"]}
        self._records = Records(out / "cache", plan["chip"], hashes, scored)
        self._setting = Setting(
            plan["chip"], plan["test_tokens"], tuple(folders.items()), fresh=True
        )

    def run(self) -> int:
        """Measure what time allows; write the results of the places that are whole.

        Returns:
            How many measurements are still missing.
        """
        places = [self._jobs_of(place) for place in self._here]
        with open_executor(self._jobs, cluster=self._cluster) as executor:
            where = Measuring(executor, self._records.cache, self._setting, self._until, self._say)
            # What answers the question comes first: a map that is cut short has its primary cells.
            first = [p for p in places if p.place.primary or p.place.readings]
            left = where.measure([j for p in first for j in p.all], "primary cells")
            if not left:
                left = where.measure([j for p in places for j in p.all], "map")
        whole = [p for p in places if all(self._records.cache.get(j.name) for j in p.all)]
        rows = map_rows(self._plan, [self._measured(p) for p in whole])
        rows += [row for some in self._known.values() for row in some]
        if rows:
            order = {place.cell: i for i, place in enumerate(self._plan.places())}
            rows.sort(key=lambda row: order[cell_of(row)])
            write_map(self._plan, rows, self._out)
        return left

    def _jobs_of(self, place: Place) -> _Jobs:
        chips = self._plan.chips(place)
        treated = {"noisy": tuple(self._noisy(place, chip) for chip in chips)}
        for name, method, guarded in self._plan.treatments(place):
            treated[name] = tuple(self._treated(place, method, c, guarded=guarded) for c in chips)
        shared = StudyJob(self._records.name("shared", place.kind), place.kind, -1, "shared", ())
        return _Jobs(place, shared, treated)

    def _noisy(self, place: Place, chip: int) -> StudyJob:
        name = self._records.name("noisy", place.kind, chip=chip)
        return StudyJob(name, place.kind, chip, "noisy", (chip, "folded"))

    def _treated(self, place: Place, calibrator: str, chip: int, *, guarded: bool) -> StudyJob:
        if calibrator == "quantiser":
            place = replace(place, kind=replace(place.kind, quantiser=self._plan["quantiser"]))
            return self._noisy(place, chip)
        tokens, kind = self._plan["calibration_tokens"], place.kind
        cell = Cell(
            role="map",
            model=kind.model,
            scope=place.parts,
            analog=kind.analog,
            sigma=kind.sigma,
            level_l=False,
            calibrator=calibrator,
            guarded=guarded,
            tokens=tokens,
            chips=(chip,),
            overrides=kind.overrides,
        )
        name = self._records.name(
            "treated", kind, chip=chip, calibrator=calibrator, guarded=guarded, tokens=tokens
        )
        return StudyJob(name, kind, chip, "treated", (cell, 0))

    def _measured(self, jobs: _Jobs) -> PlaceMeasurement:
        record = self._records.record
        treated = {n: tuple(record(j.name) for j in some) for n, some in jobs.treated.items()}
        return PlaceMeasurement(jobs.place, record(jobs.shared.name), treated)


def _folders(models: Sequence[str], models_dir: Path | None) -> dict[str, str]:
    """Return where each model is; a map without one of its models is none."""
    folders, missing = model_folders(dict.fromkeys(models), models_dir)
    if missing:
        raise CimsimError(
            "models of the plan are neither bundled nor there",
            file=models_dir,
            key="--models-dir",
            value=", ".join(missing),
            hint="train them with python -m cimsim.zoo.train, each into a folder of its name",
        )
    return folders
