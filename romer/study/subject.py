"""One model with its texts, and what it says about them without noise."""

from __future__ import annotations

import re
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Decoder, FloatLinear, ScoreResult
from cimsim.stages.compute import Compute
from cimsim.stages.models import open_model, read_text, unigram_ppl
from romer import CalibrationText, CleanReference, split_documents
from romer.study.heldout import fresh_windows, other_documents, test_windows
from romer.study.routing import RoutingLogits

__all__ = ["CleanModel", "Prepared"]


class Prepared(NamedTuple):
    """Calibration text, FIT and ACCEPT windows, and what the clean model says about it."""

    text: CalibrationText
    reference: CleanReference


class CleanModel:
    """A model and everything about it that no chip has a part in.

    Args:
        model: bundled model, or checkpoint folder.
        context: length of a window.
        compute: what carries out the numbers: that of the chips' run.
        test_tokens: TEST text that is scored; read only when asked for.
        text: calibration text, documents apart by an empty line; the bundled one by default.
        fresh: score fresh text in the place of TEST.
    """

    def __init__(
        self,
        model: str,
        context: int,
        compute: Compute,
        test_tokens: int = 0,
        text: str | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self.checkpoint, self.compute = open_model(model), compute
        self._text, self._fresh = text, fresh
        self.decoder = Decoder(self.checkpoint, compute.backend)
        self.digital = FloatLinear(self.checkpoint, compute.backend)
        self._context, self._test_tokens = context, test_tokens
        self._prepared: tuple[tuple[int, str], Prepared] | None = None

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """TEST text, or fresh text."""
        read = fresh_windows if self._fresh else test_windows
        return read(self.checkpoint, self._test_tokens, self._context)

    @cached_property
    def _clean(self) -> tuple[ScoreResult, RoutingLogits]:
        seen = RoutingLogits(self.windows.size)
        sequences = np.arange(len(self.windows), dtype=np.int64)
        score = self.decoder.score(self.windows, self.digital, sequences=sequences, observer=seen)
        return score, seen

    @property
    def clean(self) -> ScoreResult:
        """The float model on TEST text."""
        return self._clean[0]

    @property
    def clean_logits(self) -> RoutingLogits:
        """What its routers say there."""
        return self._clean[1]

    @property
    def unigram(self) -> float:
        """Perplexity that a unigram model of the calibration text has on the scored text."""
        return unigram_ppl(self.checkpoint, read_text(None), self.windows)

    def elsewhere(self, words: str) -> NDArray[np.bool_]:
        """Return which TEST windows touch no document that has some words, [windows]."""
        return other_documents(self.checkpoint, len(self.windows), self._context, words)

    def prepared(self, tokens: int, words: str = "") -> Prepared:
        """Split calibration text and run the clean model over it; the last one is kept.

        Args:
            tokens: calibration tokens.
            words: regular expression that a document must match, or "" for all documents.

        Raises:
            CimsimError: if the text is too short.
        """
        key = (tokens, words)
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = None
            whole = read_text(None).calibration if self._text is None else self._text
            documents = whole.split("\n\n")
            chosen = "\n\n".join(d for d in documents if re.search(words, d))
            text = split_documents(self.checkpoint, chosen, tokens, self._context)
            reference = CleanReference.measure(self.decoder, self.digital, text)
            self._prepared = (key, Prepared(text, reference))
        return self._prepared[1]
