"""How a call is carried out, beside what it is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """How a run, a comparison or a sweep is carried out; each is an option of the command line.

    Results do not depend on `jobs`, `threads`, `cluster` or `cached`.

    Attributes:
        jobs: chips or points at once, each in a process of its own if there are several. A script
            that asks for several needs ``if __name__ == "__main__":`` around its calls.
        threads: threads of a chip; None for all cores over `jobs`.
        cluster: ``local:N`` or the address of a Dask scheduler to compute on.
        cached: whether stages that an earlier run computed are read from the cache.
        plugins: Python files that register what chips and models name.
        bos: whether windows begin with the tokenizer's BOS token: auto, always or never.
        correction: a saved correction to apply instead of calibrating.
        force: apply a correction that was made for another model or chip.
        overwrite: replace what a non-empty folder holds.
        resume: go on with the run that the folder holds.
    """

    jobs: int = 1
    threads: int | None = None
    cluster: str | None = None
    cached: bool = True
    plugins: tuple[Path, ...] = ()
    bos: str = "auto"
    correction: Path | None = None
    force: bool = False
    overwrite: bool = False
    resume: bool = False

    @property
    def cache(self) -> Path | None:
        """Folder of the stage cache; None without one, or where none can be written."""
        from cimsim.cache.store import cache_folder, why_unusable  # noqa: PLC0415 - lazy API

        folder = cache_folder()
        return folder if self.cached and why_unusable(folder) is None else None
