"""One calibration: the clean model, a deployed chip, and text split by document."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Correction, Decoder, FloatLinear, Linear
from romer.algebra import Algebra, algebra_of
from romer.deployment import Deployment, Mode
from romer.record import RouterRecord, record_routers

__all__ = [
    "WINDOWS_AT_ONCE",
    "CalibrationText",
    "CleanReference",
    "Passed",
    "Task",
    "split_documents",
]

Windows = NDArray[np.int64]

ACCEPT_EVERY = 5  # every fifth document decides acceptance: 80 % FIT, 20 % ACCEPT
LEAST_ACCEPT_WINDOWS = 2
WINDOWS_AT_ONCE = 16  # bounds the memory of logits


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
    checkpoint: Checkpoint,
    text: str,
    tokens: int,
    context: int,
    *,
    accept_tokens: int | None = None,
) -> CalibrationText:
    """Cut documents (separated by empty lines) into windows and split them by document.

    Windows come from as many documents as possible: every document gives its first one
    before any gives its second.

    Args:
        checkpoint: whose tokenizer is used.
        text: calibration text.
        tokens: tokens taken in all, as whole windows.
        context: window length.
        accept_tokens: least tokens of ACCEPT, from further documents where the tokens in all do
            not give them; None for what those give.

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
    taken: set[tuple[int, int]] = set()
    missing = wanted
    for turn in range(max(len(d) for d in documents)):
        for number, document in enumerate(documents, start=1):
            if turn < len(document) and missing:
                parts[number % ACCEPT_EVERY == 0].append(document[turn])
                taken.add((turn, number))
                missing -= 1
    lacking = 0 if accept_tokens is None else accept_tokens // context - len(parts[1])
    if lacking > 0:
        every = _windows_by_document(checkpoint, text, None, context)
        parts[1].extend(_further_windows(every, taken, lacking, accept_tokens))
    return CalibrationText(np.stack(parts[0]), np.stack(parts[1]))


def _further_windows(
    documents: Sequence[Windows],
    taken: Container[tuple[int, int]],
    lacking: int,
    wanted: int | None,
) -> list[Windows]:
    """Return so many windows of ACCEPT documents whose (turn, document) is not taken yet.

    Raises:
        CimsimError: if the text has fewer.
    """
    numbers = range(ACCEPT_EVERY, len(documents) + 1, ACCEPT_EVERY)
    turns = range(max(map(len, documents)))
    places = [(t, n) for t in turns for n in numbers if t < len(documents[n - 1])]
    left = [documents[n - 1][t] for t, n in places if (t, n) not in taken]
    if len(left) < lacking:
        raise CimsimError(
            f"every fifth document of the calibration text has {len(places)} whole windows",
            key="calibration.accept_tokens",
            value=wanted,
            allowed=f"at most {len(places) * documents[0].shape[1]}",
            hint="ask for fewer, or give a longer text",
        )
    return left[:lacking]


def _windows_by_document(
    checkpoint: Checkpoint, text: str, wanted: int | None, context: int
) -> list[Windows]:
    """Return the windows of each document that has one, of at most `wanted` documents or all."""
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


@dataclass(frozen=True)
class CleanReference:
    """What the clean model says about the calibration text, shared by all chips.

    Attributes:
        fit: router inputs, logits and choices on FIT.
        accept_log_p: predictions on ACCEPT, float32 [some windows, context - 1, vocab] at a time:
            tensors where the model is one of torch.
    """

    fit: RouterRecord
    accept_log_p: tuple[Any, ...] = field(repr=False)

    @classmethod
    def measure(cls, decoder: Decoder, clean: FloatLinear, text: CalibrationText) -> CleanReference:
        """Run the clean model over FIT and ACCEPT text."""
        record = record_routers(decoder, clean, None, text.fit)
        sequences = np.arange(len(text.accept), dtype=np.int64)
        algebra = algebra_of(decoder.backend)
        logits = decoder.logits(text.accept, clean, sequences=sequences, at_once=WINDOWS_AT_ONCE)
        return cls(record, tuple(algebra.log_probabilities(z[:, :-1]) for z in logits))


@dataclass
class Passed:
    """Counts the tokens of text that a calibration sends through its chip.

    Attributes:
        tokens: so far.
    """

    tokens: int = 0


@dataclass(frozen=True)
class Task:
    """Everything that a calibrator sees.

    Attributes:
        decoder: digital parts of the model.
        clean: products of the clean checkpoint.
        reference: the clean model on the calibration text.
        deployment: the chip.
        text: FIT and ACCEPT windows.
        mode: tile mode of the passes that steps are fitted on.
        read_seeds: seeds of the read noise of FIT and of ACCEPT passes.
        analog: parts of the model that are on crossbars.
        model_hash: identity of the checkpoint.
        chip_hash: opaque identity of the chip.
        min_gain_nats: gain below which a step is not kept, nats per token.
        accept_mode: tile mode of the passes that decide whether a step is kept, None for `mode`.
        passed: counts what is sent through the chip.
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
    accept_mode: Mode | None = None
    passed: Passed = field(default_factory=Passed, repr=False, compare=False)

    @cached_property
    def algebra(self) -> Algebra:
        """The arithmetic of fits."""
        return algebra_of(self.decoder.backend)

    def linear(self, correction: Correction | None) -> Linear:
        """Return the chip's products as fits see them, under a correction."""
        return self.deployment.linear(correction, read_seed=self.read_seeds[0], mode=self.mode)
