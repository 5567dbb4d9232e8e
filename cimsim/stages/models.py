"""Checkpoints and texts: bundled ones by name, the user's by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Workload
from cimsim.errors import CimsimError, nearest
from cimsim.model import Checkpoint, load_checkpoint
from cimsim.model.text import split_documents, unigram_perplexity
from cimsim.text_file import read_text_file
from cimsim.zoo import bundled_models, calibration_text, heldout_text, model_folder

__all__ = [
    "Texts",
    "calibration_windows",
    "open_model",
    "read_text",
    "scored_windows",
    "spread_windows",
    "unigram_ppl",
]

CHARACTERS_A_TOKEN = 5  # of English text; others take another round
CUT_MARGIN = 256  # tokens at the end of a cut text that are not used


@dataclass(frozen=True)
class Texts:
    """What a run reads.

    Attributes:
        scored: text whose perplexity is reported.
        scored_name: its name in reports.
        calibration: text for ranges and calibration; never scored.
    """

    scored: str
    scored_name: str
    calibration: str


def open_model(name: str | Path) -> Checkpoint:
    """Open a bundled model by name, or a checkpoint folder.

    Raises:
        CimsimError: if it is neither, or the folder is not a checkpoint of a known family.
    """
    if str(name) in bundled_models():
        return load_checkpoint(model_folder(str(name)))
    path = Path(name)
    if not path.exists():
        raise CimsimError(
            "no such folder, and no bundled model of that name",
            file=name,
            key="--model",
            allowed=f"a Hugging Face folder, or one of {', '.join(bundled_models())}",
            hint=nearest(str(name), bundled_models()),
        )
    return load_checkpoint(path)


def read_text(path: Path | None) -> Texts:
    """Return the texts of a run: the bundled held-out text, or the user's file.

    Raises:
        CimsimError: if the file cannot be read as UTF-8 text.
    """
    if path is None:
        return Texts(heldout_text(), "heldout.txt", calibration_text())
    text = read_text_file(path, "text file", key="--text")
    return Texts(text, path.name, calibration_text())


def scored_windows(checkpoint: Checkpoint, texts: Texts, workload: Workload) -> NDArray[np.int64]:
    """Return the windows that are scored and timed, int64 [windows, context].

    The first whole windows of the text, without carry-over between windows.

    Raises:
        CimsimError: if the text is shorter than asked for.
    """
    return _windows(checkpoint, texts.scored, workload.tokens, workload.context, texts.scored_name)


def calibration_windows(
    checkpoint: Checkpoint, texts: Texts, tokens: int, context: int
) -> NDArray[np.int64]:
    """Return windows of calibration text, int64 [windows, context]."""
    return _windows(checkpoint, texts.calibration, tokens, context, "calibration.txt")


def spread_windows(
    checkpoint: Checkpoint, texts: Texts, tokens: int, context: int
) -> NDArray[np.int64]:
    """Return windows spread evenly over the calibration text, int64 [windows, context].

    Which experts are busy changes from document to document: windows that follow each other
    say much about one document and little about the next, windows far apart sample many.

    Raises:
        CimsimError: if the text is shorter than asked for.
    """
    wanted, text = max(1, tokens // context), texts.calibration
    found = []
    for i in range(wanted):
        start = text.find(" ", len(text) * i // wanted) + 1  # at the start of a word
        piece = text[start : start + 3 * context * CHARACTERS_A_TOKEN]
        ids = checkpoint.encode(piece)
        if len(ids) < context:
            raise CimsimError(
                f"the calibration text is too short for {wanted} windows of {context} tokens",
                key="calibration.tokens",
                value=tokens,
            )
        found.append(ids[:context])
    return np.stack(found)


def unigram_ppl(checkpoint: Checkpoint, texts: Texts, windows: NDArray[np.int64]) -> float:
    """Return the perplexity of windows under a unigram model of the whole calibration text.

    A model at or above it has lost all context (`cimsim.results.destroyed`).

    Args:
        checkpoint: whose tokens and vocabulary are used.
        texts: gives the calibration text.
        windows: int64 [windows, context], scored tokens.
    """
    vocabulary = checkpoint.program.vocab_size
    counts = np.zeros(vocabulary, dtype=np.int64)
    # A document at a time: encoding takes a kilobyte per token.
    for document in split_documents(texts.calibration):
        counts += np.bincount(checkpoint.encode(document), minlength=vocabulary)
    return unigram_perplexity(counts, windows)


def _windows(
    checkpoint: Checkpoint, text: str, tokens: int, context: int, name: str
) -> NDArray[np.int64]:
    wanted = tokens // context
    if wanted < 1:
        raise CimsimError(
            "fewer tokens than one window",
            key="workload.tokens",
            value=tokens,
            allowed=f"at least workload.context = {context}",
        )
    ids = _first_ids(checkpoint, text, wanted * context)
    if len(ids) < wanted * context:
        raise CimsimError(
            f"the text has {len(ids)} tokens and {wanted * context} are asked for",
            file=name,
            key="--tokens",
            allowed=f"at most {len(ids) // context * context} with windows of {context}",
        )
    return ids[: wanted * context].reshape(wanted, context)


def _first_ids(checkpoint: Checkpoint, text: str, wanted: int) -> NDArray[np.int64]:
    """Return the tokens of a text, at least `wanted` of them if it has as many.

    Encoding takes a kilobyte and a microsecond per token, so the text is cut. A cut changes
    tokens of the word that it falls in; those beyond the margin are the whole text's.
    """
    size = CHARACTERS_A_TOKEN * wanted
    while True:
        ids = checkpoint.encode(text[:size])
        if size >= len(text) or len(ids) >= wanted + CUT_MARGIN:
            return ids
        size *= 2
