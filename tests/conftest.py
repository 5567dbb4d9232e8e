"""Shared fixtures: counts that scale with `make test-full`, a tiny checkpoint, warm kernels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_model import warm_kernels, write_checkpoint
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Tests compute what they test; those of the stage cache name a folder of their own.
os.environ["CIMSIM_NO_CACHE"] = "1"
# transformers takes ten seconds to import; tests of the gate ask for it.
os.environ["CIMSIM_CHECK"] = "never"

settings.register_profile("cimsim", deadline=None, derandomize=True)
settings.load_profile("cimsim")


def _full() -> bool:
    return os.environ.get("CIMSIM_FULL_TESTS") == "1"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile kernels once before workers start, so that they don't compile the same ones."""
    config = session.config
    controls_workers = not hasattr(config, "workerinput") and config.getoption("numprocesses", None)
    if controls_workers and not config.getoption("collectonly"):
        with tempfile.TemporaryDirectory() as folder:
            warm_kernels(Path(folder))


# Files that take longest start first, so that no worker waits for another at the end.
LONGEST_FIRST = ("golden", "docs/test_readme.py", "romer", "pipeline", "report", "cli")
# Tests of these share nothing: each may go to any worker. Other files stay on one, with what
# their tests share.
APART = ("tests/golden/",)


class _FilesOnOneWorker(LoadScopeScheduling):
    """Hands out whole files, so that what a module's fixture makes is made once.

    Not xdist's groups: a name that a mark adds to a test's id is not seen any more by pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(APART) else nodeid.split("::", 1)[0]


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _FilesOnOneWorker(config, log)


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        starts = [_place(item).startswith(name) for name in LONGEST_FIRST]
        return starts.index(True) if any(starts) else len(starts)

    items.sort(key=rank)
    if _full():
        return
    skip = pytest.mark.skip(reason="large count: make test-full")
    for item in items:
        if item.get_closest_marker("full"):  # a parameter may be called full too
            item.add_marker(skip)


@pytest.fixture(scope="session")
def scaled() -> Callable[[int], int]:
    """A count: the whole of it in `make test-full`, a tenth of it otherwise."""

    def count(full: int) -> int:
        return full if _full() else max(1, full // 10)

    return count


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random checkpoint (`tiny_model.py` says its sizes)."""
    return write_checkpoint(tmp_path_factory.mktemp("models") / "tiny moe")
