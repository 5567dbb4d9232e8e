"""Shapes of published models: parameters and structure."""

from __future__ import annotations

import pytest

from cimsim.errors import CimsimError
from cimsim.workload.shapes import SHAPES, shape_program


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        # Billions of parameters as the models' cards state them, embedding included.
        ("olmoe-1b-7b", 6.9, 1.3),
        ("qwen1.5-moe-a2.7b", 14.3, 2.7),
        ("deepseek-moe-16b", 16.4, 2.8),
        ("mixtral-8x7b", 46.7, 12.9),
        ("moe-671b", 671.0, 37.0),
    ],
)
def test_parameters_match_the_published_count(name: str, total: float, active: float) -> None:
    program = shape_program(name)
    embedding = program.vocab_size * program.d_model
    everything = sum(m.size for m in program.matrices()) + embedding
    used = program.linear_macs_per_token() + embedding
    assert everything / 1e9 == pytest.approx(total, rel=0.02)
    # Cards differ in whether they count embedding and head as active.
    low, high = (used - 2 * embedding) / 1e9, used / 1e9
    slack = 0.1 if name == "moe-671b" else 0.03
    assert low * (1 - slack) <= active <= high * (1 + slack)


def test_a_misspelt_shape_is_named_with_the_nearest() -> None:
    with pytest.raises(CimsimError, match="olmoe-1b-7b"):
        shape_program("olmoe-1b-7")


def test_every_shape_says_where_it_comes_from() -> None:
    assert all(s.source for s in SHAPES.values())


def test_dense_layers_have_no_router() -> None:
    program = shape_program("deepseek-moe-16b")
    assert not program.layers[0].is_moe
    assert program.layers[0].shared[0].n_out == 10944
    assert program.moe_layers == tuple(range(1, 28))
