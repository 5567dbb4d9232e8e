"""A study of a tile tells errors apart and recommends the converter that lowers them."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.mac.study import study_tile
from tests.mac.helpers import make_tile, normal


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return normal(rng, 128, 32), normal(rng, 48, 128)


def test_a_clean_tile_has_only_the_error_of_its_formats() -> None:
    weight, x = _data()
    tile = make_tile(adc={"kind": "isaac", "bits": 16})
    study = study_tile(tile, weight, x)
    assert study.error == 0.0
    assert study.sources == ()
    assert study.error_float == study.error_formats
    assert 6.0 < study.effective_bits < 9.0
    # 128 rows of 2-bit cells, pairs of both signs: 384 levels per side
    assert study.recommended_bits == 10


def test_independent_sources_add_in_squares() -> None:
    weight, x = _data()
    tile = make_tile(
        weight={"encoding": "offset"},
        device={"kind": "gaussian", "sigma": 0.2, "sigma_unit": "cell_level",
                "read_noise": {"sigma": 0.1}, "stuck_low": 0.01},
        crossbar={"wire_ohm": 0.5},
        adc={"kind": "isaac", "bits": 8, "noise_lsb": 0.5},
    )  # fmt: skip
    study = study_tile(tile, weight, x)
    names = [s.name for s in study.sources]
    assert names == ["cells", "stuck", "read_noise", "wires", "converter_errors", "rounding"]
    assert all(0.0 < s.alone < 1.2 * study.error for s in study.sources)
    assert all(s.without < 1.1 * study.error for s in study.sources)
    together = np.sqrt(sum(s.alone**2 for s in study.sources))
    assert study.error == pytest.approx(together, rel=0.15)
    assert np.sqrt(np.mean(study.errors**2)) == pytest.approx(study.error)


@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_noise_of_a_converter_alone_is_that_of_its_own_codes(encoding: str) -> None:
    weight, x = _data()
    tile = make_tile(
        weight={"encoding": encoding}, adc={"kind": "isaac", "bits": 7, "noise_lsb": 1.0}
    )
    study = study_tile(tile, weight, x)
    alone = {s.name: s.alone for s in study.sources}
    predicted = study.predicted.by_source["converter_errors"]
    assert alone["converter_errors"] == pytest.approx(predicted, rel=0.06)


def test_a_recommended_range_is_better_than_a_bad_one() -> None:
    weight, x = _data()
    tile = make_tile(adc={"kind": "isaac", "bits": 6, "range": {"kind": "fixed", "levels": 3.0}})
    study = study_tile(tile, weight, x)
    assert study.clip_rate > 0.2
    assert study.error_by_range[study.recommended_range] < 0.5 * study.error


def test_digital_tiles_and_empty_inputs_are_refused() -> None:
    weight, x = _data()
    with pytest.raises(CimsimError, match="digital"):
        study_tile(make_tile(crossbar={"kind": "digital"}), weight, x)
    with pytest.raises(CimsimError, match="inputs"):
        study_tile(make_tile(), weight, x[:0])


@pytest.mark.parametrize("zero", ["weights", "inputs"])
@pytest.mark.filterwarnings("error")
def test_errors_relative_to_outputs_of_zero_are_undefined(zero: str) -> None:
    weight, x = _data()
    weight, x = (weight * 0, x) if zero == "weights" else (weight, x * 0)
    device = {"kind": "gaussian", "sigma": 0.2, "sigma_unit": "cell_level"}
    study = study_tile(make_tile(device=device, adc={"kind": "isaac", "bits": 8}), weight, x)
    errors = (study.error, study.error_float, study.error_formats)
    assert errors == (study.sqnr_db, study.effective_bits, None) == (None, None, None)
    assert study.errors.size == 0
    assert study.error_by_bits == study.error_by_range == {}
    assert study.recommended_bits is study.recommended_range is None
    assert (study.predicted.error, study.predicted.by_source) == (None, {})
    assert {(s.alone, s.without) for s in study.sources} == {(None, None)}
    assert [reason[:21] for reason in study.undefined] == [
        "every output of the e",
        "every output of the f",
    ]


@pytest.mark.filterwarnings("error")
def test_a_float_product_of_zero_leaves_the_error_of_the_hardware_defined() -> None:
    weight = np.array([[1.0], [1.0], [3.0]], dtype=np.float32)
    x = np.array([[1.0, 2.0, -1.0]], dtype=np.float32)  # 1 + 2 - 3 is 0
    study = study_tile(make_tile(adc={"kind": "isaac", "bits": 16}), weight, x)
    assert study.error == 0.0  # of the integers 64 x 42 + 127 x 42 - 64 x 127, which is not 0
    assert study.error_float is study.sqnr_db is None
    assert len(study.undefined) == 1


def test_no_error_has_no_ratio_to_it() -> None:
    one = np.ones((1, 1), dtype=np.float32)
    study = study_tile(make_tile(adc={"kind": "isaac", "bits": 16}), one, one)
    assert study.error_float == 0.0
    assert study.sqnr_db is study.effective_bits is None
    assert "no error" in study.undefined[0]


def test_systematic_errors_are_sources_of_their_own() -> None:
    weight, x = _data()
    tile = make_tile(
        device={"kind": "eflash", "cell_bits": 8, "mean_lsb": 2.0, "threshold_mv_per_c": -0.05},
        input={"signed": "two_phase"},
        dac={"bits": 7},
        pe={"supply_droop": 0.05},
        crossbar={"stuck_columns_high": 0.2},
        adc={
            "bits": 10, "offset_lsb": 2.0, "gain_sigma": 0.05, "reference_gain": 1.04,
            "drift": {"offset_lsb_per_c": 0.05, "gain_per_c": 0.001},
        },
    )  # fmt: skip
    study = study_tile(tile, weight, x, temperature_c=65.0)
    found = {s.name: s for s in study.sources}
    assert list(found) == [
        "cells", "cell_shift", "warm_cells", "supply_droop", "stuck_columns", "reference",
        "converter_drift", "converter_offset", "converter_gain", "rounding",
    ]  # fmt: skip
    for name, source in found.items():
        assert source.alone > 0.001, name  # type: ignore[operator]
    # Droop and reference are gains: what they leave alone is what they take from every output.
    assert found["reference"].alone == pytest.approx(0.04, rel=0.2)
    assert found["stuck_columns"].without < 0.9 * study.error  # type: ignore[operator]
