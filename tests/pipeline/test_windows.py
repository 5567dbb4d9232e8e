"""Which windows of text are read: scored, calibrated on, and placed from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.stages.models import calibration_windows, open_model, read_text, spread_windows


def test_windows_to_place_from_sample_the_whole_calibration_text() -> None:
    checkpoint, texts = open_model("olmoe-tiny"), read_text(None)
    spread = spread_windows(checkpoint, texts, 1024, 128)
    first = calibration_windows(checkpoint, texts, 1024, 128)
    assert spread.shape == first.shape == (8, 128)
    assert np.array_equal(spread, spread_windows(checkpoint, texts, 1024, 128))
    found = [
        texts.calibration.find(checkpoint.tokenizer.decode(window[8:24].tolist()))
        for window in spread
    ]
    places = [place for place in found if place >= 0]  # decoding may differ in a space
    assert len(places) >= 6 and places == sorted(places)
    assert places[-1] > 0.7 * len(texts.calibration)


def test_a_text_too_short_for_spread_windows_is_refused_by_name() -> None:
    texts = replace(read_text(None), calibration="a few words only " * 40)
    with pytest.raises(CimsimError, match="too short for 4 windows of 128 tokens"):
        spread_windows(open_model("olmoe-tiny"), texts, 512, 128)
