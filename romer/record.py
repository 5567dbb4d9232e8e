"""What routers saw and said over a text: the statistics that calibration is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction, Decoder, Linear, Observer
from cimsim.workload.program import TokenKeys

__all__ = ["RouterRecord", "record_routers"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class RouterRecord:
    """Routers of every MoE layer over n tokens.

    Attributes:
        inputs: layer to float32 [n, d_model], normed hidden states.
        logits: layer to float32 [n, experts], before any correction.
        load: layer to float64 [experts], share of tokens that chose each expert.
        nll: float64 [windows, context - 1], the pass's loss in nats.
    """

    inputs: dict[int, Array]
    logits: dict[int, Array]
    load: dict[int, NDArray[np.float64]]
    nll: NDArray[np.float64]


class _Recorder(Observer):
    def __init__(self) -> None:
        self.inputs: dict[int, list[Array]] = {}
        self.logits: dict[int, list[Array]] = {}

    def router(self, layer: int, tokens: TokenKeys, inputs: Array, logits: Array) -> None:
        del tokens
        self.inputs.setdefault(layer, []).append(inputs.copy())
        self.logits.setdefault(layer, []).append(logits.copy())


def record_routers(
    decoder: Decoder, linear: Linear, correction: Correction | None, windows: NDArray[np.int64]
) -> RouterRecord:
    """Run a text through the model and keep what its routers saw.

    Args:
        decoder: the model.
        linear: its products, clean or of a chip.
        correction: what is already corrected, or None.
        windows: int64 [windows, context].
    """
    recorder = _Recorder()
    sequences = np.arange(len(windows), dtype=np.int64)
    scored = decoder.score(
        windows, linear, sequences=sequences, correction=correction, observer=recorder
    )
    load = {}
    for index, layer in enumerate(decoder.architecture.moe_layers):
        experts = decoder.architecture.blocks[layer].n_experts
        counts = np.bincount(scored.experts[:, index].ravel(), minlength=experts)
        load[layer] = counts / scored.experts.shape[0]
    return RouterRecord(
        inputs={k: np.concatenate(v) for k, v in recorder.inputs.items()},
        logits={k: np.concatenate(v) for k, v in recorder.logits.items()},
        load=load,
        nll=scored.nll,
    )
