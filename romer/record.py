"""What routers saw and said over a text: the statistics that calibration is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Correction, Decoder, Linear, Observer
from cimsim.workload.program import TokenKeys

__all__ = ["RouterRecord", "Routers", "record_routers", "window_keys"]

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

    def attention(self, layer: int, tokens: TokenKeys, inputs: Array, output: Array) -> None:
        del tokens, output
        self.attention_inputs[layer] = inputs.copy()

    def router(self, layer: int, tokens: TokenKeys, inputs: Array, logits: Array) -> None:
        del tokens
        self.inputs[layer] = inputs.copy()
        self.logits[layer] = logits.copy()


def window_keys(windows: Windows, first: int = 0) -> TokenKeys:
    """Return the addresses of all tokens of windows numbered from `first` on."""
    count, context = windows.shape
    position = np.tile(np.arange(context, dtype=np.int64), count)
    return TokenKeys(np.repeat(first + np.arange(count, dtype=np.int64), context), position)


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
    recorder = _Recorder()
    stepper = decoder.stepper(linear, correction=correction, observer=recorder)
    keys = window_keys(windows)
    cache = decoder.new_cache(np.arange(len(windows), dtype=np.int64), windows.shape[1])
    x = stepper.embed(windows.reshape(-1))
    load: dict[int, NDArray[np.float64]] = {}
    last = max(decoder.architecture.moe_layers)
    for layer in range(last + 1):
        x = stepper.attention(layer, x, keys, cache)
        cache.drop(layer)
        normed, routing = stepper.route(layer, x, keys)
        if layer in recorder.logits:
            if not np.isfinite(recorder.logits[layer]).all():
                raise CimsimError(
                    f"the router logits of layer {layer} on calibration text are not finite",
                    key="calibration.method",
                    hint="the chip is too noisy to calibrate",
                )
            experts = decoder.architecture.blocks[layer].n_experts
            load[layer] = np.bincount(routing.experts.ravel(), minlength=experts) / len(x)
        if layer < last:
            x = stepper.experts(layer, x, normed, routing, keys)
    return RouterRecord(recorder.inputs, recorder.logits, load, recorder.attention_inputs)
