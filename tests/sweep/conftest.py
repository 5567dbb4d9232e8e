"""Sweeps of tests: the full-size model is a small one."""

from __future__ import annotations

import pytest

from cimsim.workload.shapes import SHAPES
from tests.small_shape import NAME, SMALL_SHAPE


@pytest.fixture(autouse=True)
def small_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the full-size model a small one."""
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
