"""A clipped model is another model: who keeps or reads weights by name gets clipped ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cimsim.model.array_backend import NumbaBackend
from cimsim.model.weight_source import CheckpointWeight
from cimsim.stages.models import open_model
from romer.study.quantiser import clipped, quantiser_of


def test_a_clipped_model_is_not_taken_for_the_model_itself(tiny_model: Path) -> None:
    plain = open_model(tiny_model)
    small = clipped(plain, quantiser_of("per_column_clip_2"))
    assert small.hash != plain.hash
    assert small.hash != clipped(plain, quantiser_of("per_column_clip_3")).hash
    assert clipped(plain, quantiser_of("per_column")) is plain
    matrix = next(iter(plain.program.matrices())).id
    backend = NumbaBackend()
    whole, cut = (CheckpointWeight(backend, each, matrix) for each in (plain, small))
    assert whole != cut
    bound = 2.0 * float(np.sqrt(np.mean(np.square(whole(), dtype=np.float64))))
    assert np.abs(whole()).max() > bound
    assert np.abs(cut()).max() <= bound * (1 + 1e-6)
    # A backend that reads bfloat16 as it is stored would read what is not clipped.
    assert small.bfloat16(matrix) is None
