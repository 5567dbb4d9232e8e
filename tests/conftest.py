"""Shared fixtures: counts that scale with `make test-full`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

settings.register_profile("cimsim", deadline=None, derandomize=True)
settings.load_profile("cimsim")


def _full() -> bool:
    return os.environ.get("CIMSIM_FULL_TESTS") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _full():
        return
    skip = pytest.mark.skip(reason="large count: make test-full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def scaled() -> Callable[[int], int]:
    """A count: the whole of it in `make test-full`, a tenth of it otherwise."""

    def count(full: int) -> int:
        return full if _full() else max(1, full // 10)

    return count
