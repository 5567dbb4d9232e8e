"""What routers saw and said over a text: the statistics that calibration is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Correction, Decoder, Linear, Observer
from cimsim.model.array_backend import ArrayBackend
from cimsim.model.routing import Routing
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.operations import Route
from romer.algebra import HOST, algebra_of

__all__ = ["RouterRecord", "Routers", "record_routers"]

Array = NDArray[np.float32]
Windows = NDArray[np.int64]


@dataclass(frozen=True)
class RouterRecord:
    """Routers of every MoE layer over n tokens.

    Attributes:
        inputs: layer to float32 [n, d_model], normed hidden states.
        logits: layer to float32 [n, experts], before any correction of logits.
        load: layer to float64 [experts], share of tokens that chose each expert.
        attention_inputs: layer to float32 [n, d_model], normed states before attention.
    """

    inputs: Mapping[int, Array]
    logits: dict[int, Array]
    load: dict[int, NDArray[np.float64]]
    attention_inputs: Mapping[int, Array]


# Records the noisy model's routers when first asked: not every step needs them.
Routers = Callable[[], RouterRecord]


class _Recorder(Observer):
    """Keeps what routers say, and the states where they are wanted."""

    def __init__(self, backend: ArrayBackend, *, states: bool) -> None:
        self._host, self._states = backend.host, states
        self.inputs: dict[int, Array] = {}
        self.logits: dict[int, Array] = {}
        self.attention_inputs: dict[int, Array] = {}

    def norm(self, layer: int, name: str, tokens: TokenKeys, normed: Array) -> None:
        del tokens
        if self._states and name == "attention":
            self.attention_inputs[layer] = self._host(normed).copy()

    def router(self, layer: int, tokens: TokenKeys, inputs: Array, logits: Array) -> None:
        del tokens
        if self._states:
            self.inputs[layer] = self._host(inputs).copy()
        self.logits[layer] = logits.copy()


class _States(Mapping[int, Array]):
    """States of a pass that is carried out again when they are first asked for.

    Those of a model of released size are tens of gigabytes, and few steps read them.
    """

    def __init__(self, read: Callable[[], Mapping[int, Array]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> Mapping[int, Array]:
        return self._read()

    def __getitem__(self, layer: int) -> Array:
        return self._found[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def record_routers(
    decoder: Decoder, linear: Linear, correction: Correction | None, windows: Windows
) -> RouterRecord:
    """Run a text through the layers and keep what its routers saw; the head is not needed.

    Args:
        decoder: the model.
        linear: its products, clean or of a chip.
        correction: what is already corrected, or None.
        windows: int64 [windows, context].

    Raises:
        CimsimError: if a router's logits are not finite.
    """
    on_host = algebra_of(decoder.backend) is HOST
    recorder, routings = _run(decoder, linear, correction, windows, states=on_host)
    load: dict[int, NDArray[np.float64]] = {}
    for layer, routing in zip(decoder.program.moe_layers, routings, strict=True):
        if not np.isfinite(recorder.logits[layer]).all():
            raise CimsimError(
                f"the router logits of layer {layer} on calibration text are not finite",
                key="calibration.method",
                hint="the chip is too noisy to calibrate",
            )
        experts = len(decoder.program.layers[layer].experts)
        load[layer] = np.bincount(routing.experts.ravel(), minlength=experts) / windows.size
    if on_host:
        return RouterRecord(recorder.inputs, recorder.logits, load, recorder.attention_inputs)

    @cache
    def again() -> _Recorder:
        return _run(decoder, linear, correction, windows, states=True)[0]

    inputs = _States(lambda: again().inputs)
    return RouterRecord(inputs, recorder.logits, load, _States(lambda: again().attention_inputs))


def _run(
    decoder: Decoder,
    linear: Linear,
    correction: Correction | None,
    windows: Windows,
    *,
    states: bool,
) -> tuple[_Recorder, list[Routing]]:
    """Take all windows as one flight to the last router."""
    recorder, program = _Recorder(decoder.backend, states=states), decoder.program
    interpreter = decoder.interpreter(linear, correction=correction, observer=recorder)
    flight = decoder.flight(windows, np.arange(len(windows), dtype=np.int64))
    routes = [i for i, o in enumerate(program.operations) if isinstance(o, Route)]
    interpreter.advance(flight, routes[-1] + 1)
    return recorder, flight.routings
