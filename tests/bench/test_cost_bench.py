"""The share of a run that evaluating costs takes is counted from a profile."""

from __future__ import annotations

import cProfile
import json

from cimsim.bench.cost import _seconds_in
from cimsim.config.load import find_chip, load_chip
from cimsim.cost.catalogue import price_chip


def test_time_in_the_cost_model_is_told_from_other_time() -> None:
    config = load_chip(find_chip("isaac"))
    profile = cProfile.Profile(builtins=False)
    profile.enable()
    for _ in range(20):
        price_chip(config)
    other = [json.dumps({"a": i}) for i in range(2000)]
    profile.disable()
    assert len(other) == 2000
    spent = _seconds_in(profile, "/cimsim/cost/")
    assert 0.0 < spent < _seconds_in(profile, "")
    assert _seconds_in(profile, "/cimsim/engine/") == 0.0
