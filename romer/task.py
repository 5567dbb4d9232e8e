"""One calibration: the clean model, a deployed chip, and text split by document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Decoder, FloatLinear
from romer.deployment import Deployment
from romer.record import RouterRecord, record_routers

__all__ = ["CalibrationText", "CleanReference", "Task", "split_documents"]

Windows = NDArray[np.int64]

LEAST_DOCUMENTS = 10
ACCEPT_EVERY = 5  # every fifth document decides acceptance: 80 % FIT, 20 % ACCEPT


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

    Args:
        checkpoint: whose tokenizer is used.
        text: calibration text.
        tokens: tokens taken in all, as whole windows; a document gives at most a tenth of
            them, so that both parts hold several documents.
        context: window length.

    Raises:
        CimsimError: if the text is too short for one window of each part.
    """
    wanted = tokens // context
    most = max(1, wanted // LEAST_DOCUMENTS)
    fit: list[Windows] = []
    accept: list[Windows] = []
    count = documents = 0
    for document in text.split("\n\n"):
        ids = np.asarray(
            checkpoint.tokenizer.encode(document, add_special_tokens=False).ids, dtype=np.int64
        )
        whole = min(len(ids) // context, wanted - count, most)
        if whole < 1:
            continue
        documents += 1
        part = accept if documents % ACCEPT_EVERY == 0 else fit
        part.append(ids[: whole * context].reshape(whole, context))
        count += whole
        if count >= wanted:
            break
    if not fit or not accept or count < wanted:
        raise CimsimError(
            f"{tokens} calibration tokens give {count} windows of {context} from {documents} "
            f"documents; {ACCEPT_EVERY} documents with a window each are needed at least",
            key="calibration.tokens",
            value=tokens,
            hint="ask for more calibration tokens, or give a longer text",
        )
    return CalibrationText(np.concatenate(fit), np.concatenate(accept))


@dataclass(frozen=True)
class CleanReference:
    """The clean model's routers on the FIT text, shared by all chips.

    Attributes:
        fit: router inputs, logits and choices.
    """

    fit: RouterRecord

    @classmethod
    def measure(cls, decoder: Decoder, clean: FloatLinear, text: CalibrationText) -> CleanReference:
        """Run the clean model over the FIT text."""
        return cls(record_routers(decoder, clean, None, text.fit))


@dataclass(frozen=True)
class Task:
    """Everything that a calibrator sees.

    Attributes:
        decoder: digital parts of the model.
        clean: products of the clean checkpoint.
        reference: the clean model's routing of the FIT text.
        deployment: the chip.
        text: FIT and ACCEPT windows.
        mode: tile mode of calibration passes.
        read_seeds: seeds of the read noise of FIT and of ACCEPT passes.
        analog: parts of the model that are on crossbars.
        model_hash: identity of the checkpoint.
        chip_hash: opaque identity of the chip.
    """

    decoder: Decoder
    clean: FloatLinear
    reference: CleanReference
    deployment: Deployment
    text: CalibrationText
    mode: str
    read_seeds: tuple[int, int]
    analog: Sequence[str]
    model_hash: str
    chip_hash: str
