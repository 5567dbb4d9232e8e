"""One calibration: the clean model, a deployed chip, and text split by document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Correction, Decoder, FloatLinear, Linear
from cimsim.model.kernels.rows import log_softmax
from romer.deployment import Deployment, Mode
from romer.record import RouterRecord, record_routers

__all__ = ["CalibrationText", "CleanReference", "Task", "log_probabilities", "split_documents"]

Array = NDArray[np.float32]
Windows = NDArray[np.int64]

ACCEPT_EVERY = 5  # every fifth document decides acceptance: 80 % FIT, 20 % ACCEPT
LEAST_ACCEPT_WINDOWS = 2


@dataclass(frozen=True)
class CalibrationText:
    """Windows of calibration text; no document is in both parts.

    Attributes:
        fit: int64 [windows, context], what steps are fitted on.
        accept: int64 [windows, context], what decides whether a step is kept.
    """

    fit: Windows
    accept: Windows


def split_documents(
    checkpoint: Checkpoint, text: str, tokens: int, context: int
) -> CalibrationText:
    """Cut documents (separated by empty lines) into windows and split them by document.

    Windows come from as many documents as possible: every document gives its first one
    before any gives its second.

    Args:
        checkpoint: whose tokenizer is used.
        text: calibration text.
        tokens: tokens taken in all, as whole windows.
        context: window length.

    Raises:
        CimsimError: if the tokens or the text are too few for both parts.
    """
    wanted = tokens // context
    least = ACCEPT_EVERY * LEAST_ACCEPT_WINDOWS
    if wanted < least:
        raise CimsimError(
            f"calibration needs {least} windows of {context} tokens or more: {least * context}",
            key="calibration.tokens",
            value=tokens,
            allowed=f"at least {least * context}",
        )
    documents = _windows_by_document(checkpoint, text, wanted, context)
    have = sum(len(d) for d in documents)
    if have < wanted or len(documents) < ACCEPT_EVERY:
        raise CimsimError(
            f"{wanted * context} calibration tokens are wanted and the text has {have * context} "
            f"in whole windows of {context}, in {len(documents)} documents; at least "
            f"{ACCEPT_EVERY} documents are needed",
            key="calibration.tokens",
            value=tokens,
            hint="ask for fewer calibration tokens, or give a longer text",
        )
    parts: tuple[list[Windows], list[Windows]] = ([], [])
    missing = wanted
    for turn in range(max(len(d) for d in documents)):
        for number, document in enumerate(documents, start=1):
            if turn < len(document) and missing:
                parts[number % ACCEPT_EVERY == 0].append(document[turn])
                missing -= 1
    return CalibrationText(np.stack(parts[0]), np.stack(parts[1]))


def _windows_by_document(
    checkpoint: Checkpoint, text: str, wanted: int, context: int
) -> list[Windows]:
    """Return the windows of each document that has one, at most `wanted` documents."""
    found: list[Windows] = []
    for document in text.split("\n\n"):
        encoded = checkpoint.tokenizer.encode(document, add_special_tokens=False)
        ids = np.asarray(encoded.ids, dtype=np.int64)
        windows = checkpoint.windows(ids, len(ids), context)
        if len(windows):
            found.append(windows)
        if len(found) == wanted:
            break
    return found


def log_probabilities(logits: Array) -> Array:
    """Return log softmax over the last axis, float32."""
    rows = np.ascontiguousarray(logits).reshape(-1, logits.shape[-1])
    return log_softmax(rows).reshape(logits.shape)


@dataclass(frozen=True)
class CleanReference:
    """What the clean model says about the calibration text, shared by all chips.

    Attributes:
        fit: router inputs, logits and choices on FIT.
        accept_log_p: float32 [windows, context - 1, vocab], predictions on ACCEPT.
    """

    fit: RouterRecord
    accept_log_p: Array = field(repr=False)

    @classmethod
    def measure(cls, decoder: Decoder, clean: FloatLinear, text: CalibrationText) -> CleanReference:
        """Run the clean model over FIT and ACCEPT text."""
        record = record_routers(decoder, clean, None, text.fit)
        sequences = np.arange(len(text.accept), dtype=np.int64)
        logits = decoder.forward(text.accept, clean, sequences=sequences).logits
        return cls(record, log_probabilities(logits[:, :-1]))


@dataclass(frozen=True)
class Task:
    """Everything that a calibrator sees.

    Attributes:
        decoder: digital parts of the model.
        clean: products of the clean checkpoint.
        reference: the clean model on the calibration text.
        deployment: the chip.
        text: FIT and ACCEPT windows.
        mode: tile mode of calibration passes.
        read_seeds: seeds of the read noise of FIT and of ACCEPT passes.
        analog: parts of the model that are on crossbars.
        model_hash: identity of the checkpoint.
        chip_hash: opaque identity of the chip.
        min_gain_nats: gain below which a step is not kept, nats per token.
    """

    decoder: Decoder
    clean: FloatLinear
    reference: CleanReference
    deployment: Deployment
    text: CalibrationText
    mode: Mode
    read_seeds: tuple[int, int]
    analog: Sequence[str]
    model_hash: str
    chip_hash: str
    min_gain_nats: float

    def linear(self, correction: Correction | None) -> Linear:
        """Return the chip's products as fits see them, under a correction."""
        return self.deployment.linear(correction, read_seed=self.read_seeds[0], mode=self.mode)
