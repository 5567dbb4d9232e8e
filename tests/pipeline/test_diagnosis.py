"""A run says what destroyed a chip and which knob helps, and which range costs too much."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cimsim.config.load import find_chip, load_chip
from cimsim.mac import AdcRange
from cimsim.stages.diagnosis import _explained, diagnosis, range_warning
from cimsim.workload.matrix import MatrixId
from tests.mac.helpers import normal

MATRIX = MatrixId(0, "q")


@pytest.mark.parametrize(
    ("knobs", "cause", "helps"),
    [
        (("tile.adc.bits=6", "tile.adc.range={kind: full}"), "the range", "kind: auto"),
        (("tile.adc.bits=4",), "too few bits", "tile.adc.bits="),
        (("tile.device.sigma=0.3",), "errors of cells", "halve tile.device.sigma (now 0.3)"),
        (("tile.device.read_noise.sigma=3",), "read noise", "lower tile.device.read_noise.sigma"),
        (("tile.adc.noise_lsb=20",), "errors of the converters", "noise_lsb"),
    ],
)
def test_the_source_that_costs_most_is_named_with_its_knob(
    knobs: tuple[str, ...], cause: str, helps: str
) -> None:
    rng = np.random.default_rng(0)
    chip = load_chip(find_chip("isaac"), knobs)
    told = _explained(chip, MATRIX, normal(rng, 128, 16), np.abs(normal(rng, 32, 128)))
    assert told.startswith("destroyed mostly by ")
    assert cause in told
    assert helps.lower() in told.lower()


def test_a_range_that_costs_more_than_it_need_is_told_with_what_helps() -> None:
    costly = {MATRIX: AdcRange(96.0, error=0.5, least_error=0.3)}
    near = {MATRIX: AdcRange(96.0, error=0.2, least_error=0.19)}
    (told,) = range_warning(costly, "full")
    assert "0.5 of their rms; tile.adc.range={kind: auto} leaves 0.3" in told
    assert range_warning(near, "full") == ()
    assert range_warning(costly, "auto") == ()
    assert range_warning({MATRIX: AdcRange(96.0)}, "fixed") == ()


@pytest.mark.parametrize(
    ("clean", "ideal", "told"),
    [
        (30.0, 31.0, "before it reached a chip: the float model itself is no better"),
        (10.0, 31.0, "by its number formats, before any analog error"),
    ],
)
def test_a_model_that_was_lost_before_any_analog_error_is_not_blamed_on_it(
    clean: float, ideal: float, told: str
) -> None:
    chip = load_chip(find_chip("isaac"))
    lost = SimpleNamespace(ppl=SimpleNamespace(mean=40.0))
    accuracy = SimpleNamespace(
        clean=SimpleNamespace(nll=np.full(8, np.log(clean))), ideal_ppl=ideal, unigram_ppl=20.0
    )
    measured: Any = SimpleNamespace(config=chip, accuracy=accuracy, noisy=lost, calibrated=lost)
    nobody: Any = None
    assert told in diagnosis(measured, nobody)[0]
