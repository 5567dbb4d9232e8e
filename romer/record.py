"""What routers saw and said over a text: the statistics that calibration is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Correction, Decoder, Linear, Observer
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.operations import Route

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

    inputs: dict[int, Array]
    logits: dict[int, Array]
    load: dict[int, NDArray[np.float64]]
    attention_inputs: dict[int, Array]


# Records the noisy model's routers when first asked: not every step needs them.
Routers = Callable[[], RouterRecord]


class _Recorder(Observer):
    def __init__(self) -> None:
        self.inputs: dict[int, Array] = {}
        self.logits: dict[int, Array] = {}
        self.attention_inputs: dict[int, Array] = {}

    def norm(self, layer: int, name: str, tokens: TokenKeys, normed: Array) -> None:
        del tokens
        if name == "attention":
            self.attention_inputs[layer] = normed.copy()

    def router(self, layer: int, tokens: TokenKeys, inputs: Array, logits: Array) -> None:
        del tokens
        self.inputs[layer] = inputs.copy()
        self.logits[layer] = logits.copy()


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
    recorder, program = _Recorder(), decoder.program
    interpreter = decoder.interpreter(linear, correction=correction, observer=recorder)
    flight = decoder.flight(windows, np.arange(len(windows), dtype=np.int64))
    routes = [i for i, o in enumerate(program.operations) if isinstance(o, Route)]
    interpreter.advance(flight, routes[-1] + 1)
    load: dict[int, NDArray[np.float64]] = {}
    for layer, routing in zip(program.moe_layers, flight.routings, strict=True):
        if not np.isfinite(recorder.logits[layer]).all():
            raise CimsimError(
                f"the router logits of layer {layer} on calibration text are not finite",
                key="calibration.method",
                hint="the chip is too noisy to calibrate",
            )
        experts = len(program.layers[layer].experts)
        load[layer] = np.bincount(routing.experts.ravel(), minlength=experts) / windows.size
    return RouterRecord(recorder.inputs, recorder.logits, load, recorder.attention_inputs)
