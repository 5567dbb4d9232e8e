"""Documents, windows, perplexity and bits a byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from cimsim.errors import CimsimError
from cimsim.model import (
    bits_per_byte,
    cut_windows,
    load_checkpoint,
    perplexity,
    predicted_bytes,
    split_documents,
)
from cimsim.zoo import heldout_text, model_folder


def test_documents_are_separated_by_empty_lines() -> None:
    assert split_documents("one\ntwo\n\nthree\n\n\n\nfour\n") == ["one\ntwo", "three", "four\n"]


def test_windows_do_not_overlap_and_drop_the_rest() -> None:
    np.testing.assert_array_equal(cut_windows(np.arange(11), 4), [[0, 1, 2, 3], [4, 5, 6, 7]])


@pytest.mark.parametrize(("tokens", "context"), [(3, 4), (0, 2), (9, 1)])
def test_texts_without_a_window_are_refused(tokens: int, context: int) -> None:
    with pytest.raises(CimsimError, match="shorter than one window"):
        cut_windows(np.arange(tokens), context)


def test_perplexity_of_a_fair_choice_is_the_number_of_choices() -> None:
    assert perplexity(np.full((2, 3), math.log(7))) == pytest.approx(7)


def test_bits_per_byte_by_hand() -> None:
    assert bits_per_byte(np.full(8, 2 * math.log(2)), 32) == pytest.approx(0.5)


def test_predicted_bytes_of_the_bundled_tokenizer_are_those_of_the_text() -> None:
    checkpoint = load_checkpoint(model_folder("olmoe-tiny"))
    text = "Größe: 3 µm → 5\n" + heldout_text()[:3000]
    ids = checkpoint.encode(text)
    assert checkpoint.tokenizer.decode(ids.tolist()) == text
    first = len(checkpoint.tokenizer.decode(ids[:1].tolist()).encode())
    assert predicted_bytes(checkpoint.tokenizer, ids[None]) == len(text.encode()) - first


def test_predicted_bytes_of_other_vocabularies_are_those_of_the_decoded_text() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "größe": 1, "unknown": 2}, "unknown"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    assert predicted_bytes(tokenizer, np.array([[0, 1, 0], [1, 0, 0]])) == 7 + 1 + 1 + 1
