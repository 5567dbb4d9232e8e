"""Tokenizer and token files for training: one byte-level BPE shared by all bundled models."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from cimsim.zoo.specs import CONTEXT, VOCABULARY

END_OF_TEXT = "<|endoftext|>"  # id 0; in the vocabulary for other tools, never in our texts
ENCODE_BATCH = 512
SCORED_TOKENS = 40_960  # the development split of the held-out text


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, xz-compressed or plain, without a byte order mark."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes()).decode("utf-8-sig")
    return path.read_text(encoding="utf-8-sig")


def train_tokenizer(text: str) -> Tokenizer:
    """Byte-level BPE of 4,096 tokens learnt from documents separated by empty lines."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.split("\n\n"), trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> NDArray[np.uint16]:
    """Token ids of a long text, document by document.

    A newline followed by a word is a token of its own, so an empty line is two of them and the
    result is that of encoding the text in one piece (which would hold a gigabyte of offsets).
    """
    newline = tokenizer.token_to_id("Ċ")
    separator = np.array([newline, newline], np.uint16)
    documents = text.split("\n\n")
    pieces: list[NDArray[np.uint16]] = []
    for start in range(0, len(documents), ENCODE_BATCH):
        batch = documents[start : start + ENCODE_BATCH]
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            pieces += [np.array(encoding.ids, np.uint16), separator]
    return np.concatenate(pieces[:-1])


def prepare(train_path: Path, heldout_path: Path, folder: Path) -> None:
    """Write ``tokenizer.json``, ``train.npy``, ``heldout.npy`` and their sizes to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    train_text = read_text(train_path)
    heldout_text = read_text(heldout_path)
    tokenizer = train_tokenizer(train_text)
    tokenizer.save(str(folder / "tokenizer.json"))
    train = encode(tokenizer, train_text)
    heldout = np.array(tokenizer.encode(heldout_text, add_special_tokens=False).ids, np.uint16)
    np.save(folder / "train.npy", train)
    np.save(folder / "heldout.npy", heldout)
    scored = heldout[:SCORED_TOKENS].astype(int).tolist()
    sizes = {
        "train_tokens": int(train.size),
        "train_bytes": len(train_text.encode("utf-8")),
        "heldout_tokens": int(heldout.size),
        "scored_bytes": scored_bytes(tokenizer, scored),
    }
    (folder / "sizes.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")


def scored_bytes(tokenizer: Tokenizer, tokens: list[int]) -> int:
    """UTF-8 bytes of the tokens that are predicted: all but the first of each window."""
    predicted = (token for index, token in enumerate(tokens) if index % CONTEXT)
    symbols = [tokenizer.id_to_token(token) for token in predicted]
    return len("".join(symbol for symbol in symbols if symbol))  # one character a byte
