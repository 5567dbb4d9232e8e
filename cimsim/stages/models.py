"""Checkpoints and texts: bundled ones by name, the user's by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Workload
from cimsim.errors import CimsimError, nearest
from cimsim.model import Checkpoint, load_checkpoint
from cimsim.model.beginning import BosRule
from cimsim.model.text import split_documents, unigram_perplexity
from cimsim.printable import printable
from cimsim.text_file import is_folder, read_text_file
from cimsim.zoo import bundled_models, calibration_text, heldout_text, model_folder

__all__ = [
    "Texts",
    "calibration_windows",
    "open_model",
    "read_text",
    "scored_bytes",
    "scored_windows",
    "spread_windows",
    "unigram_ppl",
]

CHARACTERS_A_TOKEN = 5  # of English text; others take another round
LONGEST_NAME = 256  # characters; a longer string is no file name
CUT_MARGIN = 256  # tokens at the end of a cut text that are not used


@dataclass(frozen=True)
class Texts:
    """What a run reads.

    Attributes:
        scored: text whose perplexity is reported.
        scored_name: its name in reports.
        calibration: text for ranges and calibration; never scored.
        bos: whether windows begin with a token that says so.
    """

    scored: str
    scored_name: str
    calibration: str
    bos: BosRule = "auto"


def open_model(name: str | Path, bos: BosRule = "auto") -> Checkpoint:
    """Open a bundled model by name, or a checkpoint folder.

    Args:
        name: of the model, or its folder.
        bos: whether windows begin with a token that says so.

    Raises:
        CimsimError: if it is neither, or the folder is not a checkpoint of a known family.
    """
    if str(name) in bundled_models():
        return load_checkpoint(model_folder(str(name)), bos)
    path = Path(name)
    if not is_folder(path):
        raise CimsimError(
            "no such folder, and no bundled model of that name",
            file=name,
            key="--model",
            allowed=f"a Hugging Face folder, or one of {', '.join(bundled_models())}",
            hint=nearest(str(name), bundled_models()),
        )
    return load_checkpoint(path, bos)


def read_text(text: Path | str | None, bos: str = "auto") -> Texts:
    """Return the texts of a run: the bundled held-out text, or the user's.

    Args:
        text: the user's file, or the text itself as a string; None takes the bundled one.
        bos: whether windows begin with a token that says so: auto, always or never.

    Raises:
        CimsimError: if the file cannot be read as UTF-8 text, or a string names a file.
    """
    if bos not in get_args(BosRule):
        allowed = ", ".join(get_args(BosRule))
        raise CimsimError("not a rule", key="--bos", value=bos, allowed=allowed)
    rule = cast("BosRule", bos)
    if text is None:
        return Texts(heldout_text(), "heldout.txt", calibration_text(), rule)
    if isinstance(text, str):
        return Texts(given_text(text), "text given", calibration_text(), rule)
    return Texts(given_text(text), printable(text.name), calibration_text(), rule)


def given_text(text: Path | str) -> str:
    """Return the text of a file, or a string as it stands.

    Raises:
        CimsimError: if the file cannot be read as UTF-8 text, or a string names a file.
    """
    if isinstance(text, Path):
        return read_text_file(text, "text file", key="--text", pipe=True)
    if len(text) < LONGEST_NAME and "\n" not in text and "\0" not in text and Path(text).is_file():
        raise CimsimError(
            "is the name of a file, and a string is scored as it stands",
            key="text",
            value=text,
            hint=f"give Path({text!r})",
        )
    return text


def scored_windows(checkpoint: Checkpoint, texts: Texts, workload: Workload) -> NDArray[np.int64]:
    """Return the windows that are scored and timed, int64 [windows, context].

    The protocol of WikiText-2: the text is tokenised once and cut into windows that follow each
    other, without overlap or carry-over; all tokens of a window but the first are scored.

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
        found.append(checkpoint.windows(checkpoint.encode(piece), 1, context))
        if not len(found[-1]):
            raise CimsimError(
                f"the calibration text is too short for {wanted} windows of {context} tokens",
                key="calibration.tokens",
                value=tokens,
            )
    return np.concatenate(found)


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
    checkpoint.program.heads.refuse_beyond(context)
    room = checkpoint.text_tokens(context)
    ids, _ = _first_ids(checkpoint, text, wanted * room)
    windows = checkpoint.windows(ids, wanted, context)
    if len(windows) < wanted:
        raise CimsimError(
            f"the text has {len(ids)} tokens and {wanted * room} are asked for",
            file=name,
            key="--tokens",
            allowed=f"at most {len(ids) // room * context} with windows of {context}",
        )
    return windows


def scored_bytes(checkpoint: Checkpoint, texts: Texts, workload: Workload) -> int:
    """Return the bytes of UTF-8 text that the scored tokens of `scored_windows` stand for."""
    wanted = workload.tokens // workload.context
    room = checkpoint.text_tokens(workload.context)
    _, ends = _first_ids(checkpoint, texts.scored, wanted * room)
    last = ends[: wanted * room].reshape(wanted, room)[:, -1]
    follows = checkpoint.bos is not None  # else the first token of a window is not scored
    first = np.append(0, last[:-1]) if follows else ends[: wanted * room : room]
    spans = zip(first.tolist(), last.tolist(), strict=True)
    return sum(len(texts.scored[a:b].encode()) for a, b in spans)


def _first_ids(
    checkpoint: Checkpoint, text: str, wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tokens of a text and where each ends, at least `wanted` if it has as many.

    Encoding takes a kilobyte and a microsecond per token, so the text is cut. A cut changes
    tokens of the word that it falls in; those beyond the margin are the whole text's.
    """
    size = CHARACTERS_A_TOKEN * wanted
    while True:
        ids, ends = checkpoint.encode_with_ends(text[:size])
        if size >= len(text) or len(ids) >= wanted + CUT_MARGIN:
            return ids, ends
        size *= 2
