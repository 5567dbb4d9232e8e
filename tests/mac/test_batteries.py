"""The check batteries pass what is right, and name what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cimsim.config.converter import IsaacAdc
from cimsim.config.device import CustomDevice, GaussianDevice
from cimsim.errors import CimsimError
from cimsim.mac import DeviceModel, WriteError, register_device
from cimsim.testing import check_adc_model, check_device_model, check_tile
from tests.mac.helpers import keys_of, make_tile, normal, program
from tests.mac.test_twin import DEVICES


@register_device("tests_linear_cell")
class LinearCell(DeviceModel):
    """A model of one's own: sigma rises with the level."""

    def programming(self, target: np.ndarray) -> WriteError:
        slope = self.config.parameters.get("slope", 0.02)  # type: ignore[attr-defined]
        return WriteError(np.zeros_like(target), 0.01 + slope * target)


@register_device("tests_negative_cell")
class NegativeCell(DeviceModel):
    """A model with a mistake: a negative sigma."""

    def programming(self, target: np.ndarray) -> WriteError:
        return WriteError(np.zeros_like(target), 0.01 - target)


@register_device("tests_impure_cell")
class ImpureCell(DeviceModel):
    """A model with a mistake: a level's sigma depends on the other levels asked about."""

    def programming(self, target: np.ndarray) -> WriteError:
        return WriteError(np.zeros_like(target), np.full_like(target, target.mean()))


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_shipped_devices_pass(device: dict[str, Any]) -> None:
    section = make_tile(device={"cell_bits": 7, **device}).device
    assert len(check_device_model(section)) == 7


def test_a_model_of_ones_own_is_one_class_and_one_registration() -> None:
    device = CustomDevice(model="tests_linear_cell", cell_bits=2, parameters={"slope": 0.1})
    assert "conductances are never negative" in check_device_model(device)
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 32, 4), normal(rng, 2, 32)
    one = program(weight, make_tile(device=device.model_dump()))
    other = program(weight, make_tile(device={**device.model_dump(), "parameters": {}}))
    products = [p.multiply(x, keys_of(2), read_seed=0) for p in (one, other)]
    assert not np.array_equal(products[0], products[1])


@pytest.mark.parametrize(
    ("model", "finding"), [("tests_negative_cell", "negative"), ("tests_impure_cell", "depends")]
)
def test_a_mistaken_model_is_named(model: str, finding: str) -> None:
    with pytest.raises(CimsimError, match=finding):
        check_device_model(CustomDevice(model=model))


@pytest.mark.parametrize(
    "fields",
    [{}, {"bits": 6, "offset_lsb": 0.5, "gain_sigma": 0.01, "inl_lsb": 0.5},
     {"noise_lsb": 1.5}, {"enob": 6.0}, {"bits": 10, "enob": 8.0, "noise_lsb": 1.0}],
    ids=str,
)  # fmt: skip
def test_converters_pass(fields: dict[str, Any]) -> None:
    assert len(check_adc_model(IsaacAdc(**fields))) == 6


@pytest.mark.parametrize(
    "sections",
    [{}, {"weight": {"encoding": "isaac"}, "device": {"kind": "reram"}},
     {"pe": {"accumulate_cycles": True}, "device": {"kind": "pcm"}},
     {"input": {"signed": "shift"}, "dac": {"bits": 4}, "crossbar": {"rows_active": 9}}],
    ids=str,
)  # fmt: skip
def test_tiles_pass(sections: dict[str, Any]) -> None:
    assert len(check_tile(make_tile(**sections))) == 7


def test_a_digital_tile_is_refused() -> None:
    with pytest.raises(CimsimError, match="digital"):
        check_tile(make_tile(crossbar={"kind": "digital"}))


def test_a_sigma_of_whole_weights_passes_in_one_pair() -> None:
    device = GaussianDevice(sigma=1.0, sigma_unit="weight_lsb", cell_bits=7)
    assert len(check_device_model(device)) == 7
