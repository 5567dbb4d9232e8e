"""Documents and perplexity, and texts that are read whole."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from cimsim.config import Workload
from cimsim.errors import CimsimError
from cimsim.model import load_checkpoint, perplexity, split_documents
from cimsim.model.text import unigram_perplexity
from cimsim.stages.models import (
    Texts,
    calibration_windows,
    read_text,
    scored_windows,
    spread_windows,
)
from cimsim.zoo import heldout_text

WORDS = "Nine words that are long enough to be cut. " * 40


def test_documents_are_separated_by_empty_lines() -> None:
    assert split_documents("one\ntwo\n\nthree\n\n\n\nfour\n") == ["one\ntwo", "three", "four\n"]


def test_unigram_perplexity_by_hand_with_one_added_to_every_count() -> None:
    counts = np.array([3, 1, 0])  # 4/7, 2/7, 1/7
    windows = np.array([[1, 0, 2]])  # the first token is not predicted
    assert unigram_perplexity(counts, windows) == pytest.approx(math.sqrt(7 / 4 * 7))
    never_seen = unigram_perplexity(np.zeros(5, dtype=np.int64), np.array([[0, 1], [2, 4]]))
    assert never_seen == pytest.approx(5)


def test_perplexity_of_a_fair_choice_is_the_number_of_choices() -> None:
    assert perplexity(np.full((2, 3), math.log(7))) == pytest.approx(7)


def _truncate(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(64)


def _truncate_left(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(7, stride=2, direction="left")


def _pad(tokenizer: Tokenizer) -> None:
    tokenizer.enable_padding(length=5000)


def _pad_to_multiple(tokenizer: Tokenizer) -> None:
    tokenizer.enable_padding(direction="left", pad_to_multiple_of=999)


def _both(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding(length=64)


@pytest.mark.parametrize("stored", [_truncate, _truncate_left, _pad, _pad_to_multiple, _both])
def test_text_is_read_whole_whatever_its_tokenizer_stores(
    stored: Callable[[Tokenizer], None], tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stored(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    plain, found = load_checkpoint(tiny_model), load_checkpoint(folder)
    texts = Texts(WORDS, "words.txt", heldout_text())
    ids = found.encode(WORDS)
    assert ids.tolist() == plain.encode(WORDS).tolist()
    assert len(ids) == len(WORDS)  # a byte is a token of this vocabulary
    scored = scored_windows(found, texts, Workload(tokens=1600, context=16))
    np.testing.assert_array_equal(scored.ravel(), ids[:1600])
    for windows in (calibration_windows, spread_windows):
        np.testing.assert_array_equal(
            windows(found, texts, 640, 16), windows(plain, texts, 640, 16)
        )
    with pytest.raises(CimsimError, match=f"the text has {len(WORDS)} tokens and 2048 are asked"):
        scored_windows(found, texts, Workload(tokens=2048, context=16))


def test_a_byte_order_mark_is_no_part_of_text_or_tokenizer(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    file = folder / "tokenizer.json"
    file.write_text("\ufeff" + file.read_text("utf-8"), "utf-8")
    assert load_checkpoint(folder).encode("a b").tolist() == (
        load_checkpoint(tiny_model).encode("a b").tolist()
    )
    (tmp_path / "plain.txt").write_text(WORDS, "utf-8")
    (tmp_path / "marked.txt").write_text("\ufeff" + WORDS, "utf-8")
    assert read_text(tmp_path / "marked.txt").scored == WORDS
    assert read_text(tmp_path / "plain.txt").scored == WORDS
