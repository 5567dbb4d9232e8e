"""A small deployment that needs no chip model: clean weights plus a frozen error."""

from __future__ import annotations

import pytest
from romer_bench import Bench, make_bench

from cimsim.model import Checkpoint, load_checkpoint
from cimsim.zoo import model_folder


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """The bundled OLMoE-like model."""
    return load_checkpoint(model_folder("olmoe-tiny"))


@pytest.fixture(scope="session")
def bench(checkpoint: Checkpoint) -> Bench:
    """Clean reference and text, shared by the tests."""
    return make_bench(checkpoint)
