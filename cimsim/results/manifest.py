"""The manifest: when, where and with what a run was made; never part of a table."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.text_file import stored_json

__all__ = ["Manifest", "package_versions"]

_PACKAGES = (
    "cimsim",
    "numpy",
    "numba",
    "simpy",
    "networkx",
    "pydantic",
    "pandas",
    "matplotlib",
    "jinja2",
    "safetensors",
    "tokenizers",
    "scipy",
)


def package_versions() -> dict[str, str]:
    """Return the versions of cimsim and of what it computes with."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@dataclass(frozen=True)
class Manifest:
    """How a run was made.

    Attributes:
        run_hash: sha256 of everything that decides the numbers.
        command: the command line, program first.
        started: moment of the start, UTC.
        chips: names of all chips asked for.
        finished: names of the chips that are done.
        seconds: wall time of the whole run.
        chip_seconds: wall time of every finished chip.
        jobs: chips at once.
        threads: threads per chip.
        warnings: one sentence each.
        plugins: sha256 of every plug-in by its file.
        reported: whether the report is written.
    """

    run_hash: str
    command: Sequence[str]
    started: datetime
    chips: Sequence[str]
    finished: Sequence[str] = ()
    seconds: float = 0.0
    chip_seconds: Sequence[float] = ()
    jobs: int = 1
    threads: int = 1
    warnings: Sequence[str] = ()
    plugins: Mapping[str, str] = field(default_factory=dict)
    reported: bool = False

    @property
    def complete(self) -> bool:
        """Whether every chip asked for is done, and the report written."""
        return self.reported and list(self.finished) == list(self.chips)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Return what a file says.

        Raises:
            CimsimError: if it is not a run's manifest.
        """
        try:
            found = stored_json(path)
            if found["program"] != "cimsim":
                raise CimsimError("is not the manifest of a run", file=path)
            seconds = {str(name): float(s) for name, s in found["chip_seconds"].items()}
            return cls(
                run_hash=str(found["run_hash"]),
                command=tuple(map(str, found["command"])),
                started=datetime.fromisoformat(found["started"]),
                chips=tuple(map(str, found["chips"])),
                finished=tuple(seconds),
                seconds=float(found["seconds"]),
                chip_seconds=tuple(seconds.values()),
                jobs=int(found["jobs"]),
                threads=int(found["threads"]),
                warnings=tuple(map(str, found["warnings"])),
                plugins={str(name): str(sha256) for name, sha256 in found["plugins"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CimsimError("is not the manifest of a run", file=path) from error

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        content = {
            "program": "cimsim",
            "schema": 1,
            "run_hash": self.run_hash,
            "complete": self.complete,
            "command": list(self.command),
            "started": self.started.astimezone(UTC).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "chips": list(self.chips),
            "finished": list(self.finished),
            "chip_seconds": {
                name: round(s, 3) for name, s in zip(self.finished, self.chip_seconds, strict=False)
            },
            "jobs": self.jobs,
            "threads": self.threads,
            "warnings": list(self.warnings),
            "plugins": dict(self.plugins),
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "packages": package_versions(),
        }
        return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")
