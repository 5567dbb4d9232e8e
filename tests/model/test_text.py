"""Documents and perplexity, and texts that are read whole."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from cimsim.config import Workload
from cimsim.errors import CimsimError
from cimsim.model import load_checkpoint, perplexity, split_documents
from cimsim.model.text import unigram_perplexity
from cimsim.stages.models import (
    Texts,
    calibration_windows,
    read_text,
    scored_bytes,
    scored_windows,
    spread_windows,
)
from cimsim.zoo import calibration_text, heldout_text
from romer import split_documents as calibration_documents

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


def with_bos(model: Path, folder: Path, config: dict[str, object] | None, *, written: bool) -> Path:
    """Copy a model whose token 7 begins texts: by its configuration, as written, or not at all."""
    shutil.copytree(model, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    name = tokenizer.id_to_token(7)
    if written:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{name} $0", special_tokens=[(name, 7)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        named = {"bos_token": {"content": name}} if config.pop("named", True) else {}
        (folder / "tokenizer_config.json").write_text(json.dumps(config | named))
    return folder


@pytest.mark.parametrize(
    ("config", "written", "auto"),
    [
        (None, False, None),
        (None, True, 7),
        ({"add_bos_token": True}, False, 7),
        ({"add_bos_token": False}, True, None),
        ({}, False, None),
        ({}, True, 7),
        ({"add_bos_token": True, "named": False}, True, 7),
    ],
)
def test_windows_begin_as_the_files_of_a_tokenizer_say(
    config: dict[str, object] | None, written: bool, auto: int | None,
    tiny_model: Path, tmp_path: Path,
) -> None:  # fmt: skip
    folder = with_bos(tiny_model, tmp_path / "model", config, written=written)
    assert load_checkpoint(folder).bos == auto
    assert load_checkpoint(folder, "never").bos is None
    if config is not None or written:
        assert load_checkpoint(folder, "always").bos == 7


def test_a_beginning_that_no_file_names_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = with_bos(tiny_model, tmp_path / "model", {"named": False}, written=False)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": None}))
    with pytest.raises(CimsimError, match=r"--bos: windows should begin.*allowed: never"):
        _ = load_checkpoint(folder, "always").bos
    with pytest.raises(CimsimError, match=r"--bos: not a rule .*'sometimes'.* auto, always, never"):
        read_text(None, "sometimes")


def test_every_window_of_text_begins_with_the_token_and_scores_all_others(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = with_bos(tiny_model, tmp_path / "model", {"add_bos_token": True}, written=False)
    plain, found = load_checkpoint(tiny_model), load_checkpoint(folder)
    texts = Texts(WORDS, "words.txt", calibration_text())
    ids = plain.encode(WORDS)
    scored = scored_windows(found, texts, Workload(tokens=160, context=16))
    assert (scored[:, 0] == 7).all()
    np.testing.assert_array_equal(scored[:, 1:].ravel(), ids[:150])
    assert (spread_windows(found, texts, 160, 16)[:, 0] == 7).all()
    assert (calibration_windows(found, texts, 160, 16)[:, 0] == 7).all()
    calibration = calibration_documents(found, texts.calibration, 2048, 16)
    assert (np.concatenate((calibration.fit, calibration.accept))[:, 0] == 7).all()


def test_bytes_are_those_of_the_scored_tokens(tiny_model: Path, tmp_path: Path) -> None:
    # A byte is a token of this vocabulary: every window of 16 scores 15, or 15 of 15 after <s>.
    texts = Texts(WORDS.replace("w", "\u00fc"), "words.txt", calibration_text())
    workload = Workload(tokens=160, context=16)
    plain = load_checkpoint(tiny_model)
    spread = sum(len(texts.scored.encode()[16 * i + 1 : 16 * i + 16]) for i in range(10))
    assert abs(scored_bytes(plain, texts, workload) - spread) <= 10
    ascii_texts = Texts(WORDS, "words.txt", calibration_text())
    assert scored_bytes(plain, ascii_texts, workload) == 10 * 15
    folder = with_bos(tiny_model, tmp_path / "model", {"add_bos_token": True}, written=False)
    assert scored_bytes(load_checkpoint(folder), ascii_texts, workload) == 10 * 15
