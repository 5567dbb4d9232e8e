"""Layers of one pass on several devices: stand-ins that refuse tensors of each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import numpy as np
import pytest
import torch

from cimsim.backends.torch.arrays import TorchBackend
from cimsim.backends.torch.compute import TorchCompute
from cimsim.backends.torch.spread import SpreadBackend, SpreadCompute, place_of
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, Writing
from cimsim.model.side_by_side import pass_side_by_side
from cimsim.results.packed import digest_of
from cimsim.stages import compute as computing
from cimsim.stages.accuracy import Accuracy, GivenCorrection, measure_accuracy
from cimsim.stages.compute import open_shared
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import ModelOnText, open_subject
from romer.device_algebra import DeviceAlgebra
from tests.pipeline.conftest import tiny_chip

TORCH = "run.backend=torch"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    else:
        yield value


class Placed(torch.Tensor):
    """A tensor that says which stand-in it lies on, and what is computed with it lies on too."""

    place: int

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        places = {t.place for t in leaves([args, kwargs or {}]) if isinstance(t, Placed)}
        if len(places) > 1:
            raise RuntimeError(f"tensors of devices {sorted(places)} in one {func}")
        found = super().__torch_function__(func, types, args, kwargs or {})
        for tensor in leaves(found):
            if isinstance(tensor, Placed):
                tensor.place = next(iter(places))
        return found


class StandIn(TorchBackend):
    """Tensors of a processor that belong to one of several devices."""

    def __init__(self, reading: Any, place: int) -> None:
        super().__init__("cpu", reading)
        self.place = place
        self.came: list[int] = []  # where tensors came from
        self.threads: set[int] = set()  # that attended here

    def _here(self, x: torch.Tensor) -> Placed:
        found = x.as_subclass(Placed)
        found.place = self.place
        return found

    def array(self, values: Any) -> Any:
        if isinstance(values, Placed):
            if values.place != self.place:
                self.came.append(values.place)
            with torch._C.DisableTorchFunctionSubclass():
                return self._here(values.as_subclass(torch.Tensor))
        return self._here(super().array(values))

    def attend(self, *args: Any) -> Any:
        self.threads.add(get_ident())
        return super().attend(*args)

    def zeros(self, shape: tuple[int, ...]) -> Any:
        return self._here(super().zeros(shape))


class Device(TorchCompute):
    """A processor that stands for one of several devices, and remembers what it wrote."""

    def __init__(self, place: int) -> None:
        super().__init__("cpu", "exact", 0)
        self.backend = self.stand_in = StandIn(self._reading, place)
        self.layers: set[int] = set()

    def write(self, weight: Any, tile: Any, writing: Writing, adc_range: AdcRange) -> Any:
        self.layers.add(writing.matrix.layer)
        return super().write(weight, tile, writing, adc_range)


@pytest.fixture
def _fits_on_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fits lie on the first device, which does not take tensors of the second."""
    first = StandIn(None, 0)
    monkeypatch.setattr(DeviceAlgebra, "array", lambda _, values: first.array(values))
    monkeypatch.setattr(DeviceAlgebra, "taken", lambda _, x, _backend: first.array(x))


def measured(config: Any, subject: ModelOnText) -> Accuracy:
    chip = place_chip(config, subject.program, subject.expected)
    ranges = find_ranges(config, subject, chip.copies)
    given = GivenCorrection()
    return measure_accuracy(chip, subject, ranges, given, None, 1, lambda *_: None)


@pytest.mark.usefixtures("_fits_on_the_first")
@pytest.mark.parametrize(
    ("chip", "knobs"),
    [
        ("eflash_40nm", ("calibration.method=recommended",)),
        (
            "isaac",
            (
                "tile.device.sigma=0.05",
                "tile.input.scale=per_channel",
                "calibration.method=identity",
            ),
        ),
    ],
)
def test_layers_shared_by_devices_give_the_bits_of_one(
    chip: str, knobs: tuple[str, ...], tiny_model: Path
) -> None:
    config = tiny_chip(chip, TORCH, "run.chip_seeds=1", *knobs)
    subject = open_subject(str(tiny_model), read_text(None), config)
    devices = [Device(place) for place in range(2)]
    layers = len(subject.program.layers)
    for backend in (subject.decoder.backend, *(d.stand_in for d in devices)):
        backend.batch_tokens = 64  # four windows at a time
    both = subject.on(SpreadCompute(devices, layers))
    alone, shared = measured(config, subject), measured(config, both)
    assert np.array_equal(alone.clean.nll, shared.clean.nll)
    assert alone.ideal_ppl == shared.ideal_ppl
    one, other = alone.seeds[0], shared.seeds[0]
    assert np.array_equal(one.noisy.nll, other.noisy.nll)
    assert np.array_equal(one.calibrated.nll, other.calibrated.nll)
    assert digest_of(one.calibration) == digest_of(other.calibration)
    assert one.statistics.counts == other.statistics.counts
    # Each wrote its own layers, and the second got a residual stream from the first.
    halves = [{n for n in range(layers + 1) if place_of(n, layers, 2) == p} for p in range(2)]
    assert devices[0].layers <= halves[0]
    assert devices[1].layers <= halves[1]
    assert all(device.layers for device in devices)
    assert set(devices[1].stand_in.came) == {0}
    main = {get_ident()}
    assert all(device.stand_in.threads - main for device in devices)


def test_devices_work_at_once_each_on_another_flight() -> None:
    flights: Any = ["first", "second"]
    passed: list[tuple[int, str]] = []
    second_has_first = Event()

    def one(flight: Any) -> None:
        # Ends only if the second device has begun with the first flight meanwhile.
        assert flight == "first" or second_has_first.wait(20)
        passed.append((0, flight))

    def two(flight: Any) -> None:
        second_has_first.set()
        passed.append((1, flight))

    assert list(pass_side_by_side(flights, [one, two])) == flights
    assert [f for d, f in passed if d == 1] == flights
    assert passed.index((1, "first")) < passed.index((0, "second"))


def test_what_goes_wrong_on_a_device_ends_the_pass() -> None:
    flights: Any = ["first", "second", "third"]
    reached: list[str] = []

    def one(flight: Any) -> None:
        if flight == "second":
            raise CimsimError("too little memory")

    found = pass_side_by_side(flights, [one, reached.append])
    assert next(found) == "first"
    with pytest.raises(CimsimError, match="too little memory"):
        next(found)
    assert reached[0] == "first"
    assert "second" not in reached


def test_a_tensor_on_the_wrong_device_is_seen() -> None:
    first, second = (Device(place).backend for place in range(2))
    x, w = first.array(np.ones((2, 2), np.float32)), second.array(np.eye(2, dtype=np.float32))
    with pytest.raises(RuntimeError, match=r"tensors of devices \[0, 1\]"):
        first.product(x, w)
    assert first.product(x, first.array(w)).place == 0


def test_layers_go_to_devices_in_order_and_evenly() -> None:
    assert [place_of(n, 5, 2) for n in range(-1, 6)] == [0, 0, 0, 0, 1, 1, 1]
    assert [place_of(n, 8, 4) for n in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [place_of(n, 2, 4) for n in range(2)] == [0, 2]


@pytest.mark.parametrize(
    ("devices", "seeds", "shares"),
    [(1, 3, [1]), (2, 3, [1, 1]), (2, 1, [2]), (4, 2, [2, 2]), (3, 2, [1, 2]), (2, 2, [1, 1])],
)
def test_devices_beyond_chip_seeds_share_layers(
    devices: int, seeds: int, shares: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def opens(run: Any) -> TorchCompute:
        opened.append(run.device.split(",")[0])
        return TorchCompute("cpu", "exact", 0)

    monkeypatch.setattr(computing, "open_compute", opens)
    names = ",".join(f"cuda:{n}" for n in range(devices))
    run = tiny_chip("isaac", f"run.device={names}").run
    found = open_shared(run, seeds, layers=8)
    parts = [len(c._parts) if isinstance(c, SpreadCompute) else 1 for c in found]
    assert parts == shares
    assert opened == names.split(",")


def test_what_belongs_to_no_layer_lies_on_the_first_device() -> None:
    parts = [Device(place).backend for place in range(2)]
    backend = SpreadBackend(parts, 4)
    assert backend.of_layer(-1) is parts[0]
    assert backend.of_layer(4) is parts[1]
    assert backend.device == parts[0].device
