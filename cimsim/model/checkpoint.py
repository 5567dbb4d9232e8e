"""Checkpoints: ordinary Hugging Face folders, read without torch and without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model.beginning import BosRule, beginning_token
from cimsim.model.config_reader import ConfigReader, read_json
from cimsim.model.families import FAMILIES, Family
from cimsim.model.stored_weights import MatrixCache, StoredWeights
from cimsim.model.tensor_file import KnownDigest
from cimsim.model.weight_files import open_weights
from cimsim.printable import printable
from cimsim.text_file import read_text_file
from cimsim.workload.matrix import NO_EXPERT, MatrixId
from cimsim.workload.program import Program

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Checkpoint", "build_program", "load_checkpoint", "read_shape"]


@dataclass(frozen=True)
class Checkpoint:
    """A trained decoder on disk.

    Attributes:
        name: name of its folder.
        folder: where it lies.
        hash: SHA-256 of configuration and weights, hexadecimal: the model's identity.
        family: its ``model_type``.
        program: its operations, shapes and constants.
        warnings: what a user of its numbers should know, a sentence each.
        bos_rule: whether windows of text begin with a token that says so.
    """

    name: str
    folder: Path
    hash: str
    family: str
    program: Program = field(repr=False)
    warnings: tuple[str, ...]
    bos_rule: BosRule
    _weights: StoredWeights = field(repr=False)
    _cache: MatrixCache = field(repr=False)

    def matrix(self, matrix: MatrixId) -> NDArray[np.float32]:
        """Return a weight matrix, float32 [n_in, n_out], C-contiguous, for ``x @ W``.

        It is read from its file when it is asked for. Those asked for last are kept, up to
        `cimsim.model.stored_weights.CACHE_BYTES`, and shared: copy one before changing it.
        """
        return self._cache.get(matrix, lambda: self._read(matrix))

    def _read(self, matrix: MatrixId) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.parameter(*self._place_of(matrix)).T)

    def parameter(self, layer: int, role: str, expert: int = NO_EXPERT) -> NDArray[np.float32]:
        """Return a digital parameter of an operation, or a matrix, in its stored shape."""
        return self._weights.read(layer, role, expert)

    def bfloat16(self, matrix: MatrixId) -> NDArray[np.uint16] | None:
        """Return the bits of a matrix [n_out, n_in] that is stored in bfloat16, else None."""
        return self._weights.read_bfloat16(self._place_of(matrix))

    def shape_of(self, matrix: MatrixId) -> tuple[int, int]:
        """Return inputs and outputs of a matrix without reading it."""
        return self._weights.shape(self._place_of(matrix))

    @property
    def input_scales(self) -> Mapping[MatrixId, NDArray[np.float32]]:
        """What inputs of matrices are divided by before the product, float32 [n_in]."""
        return {}

    @property
    def known_digests(self) -> tuple[KnownDigest, ...]:
        """Digests of the weight files, which other processes of a run need not find again."""
        return self._weights.known_digests()

    @property
    def stored_bytes(self) -> dict[str, int]:
        """Bytes of weights by the type that they are stored in."""
        return self._weights.stored_bytes()

    def _place_of(self, matrix: MatrixId) -> MatrixId:
        tied = matrix.role == "head" and self.program.tied_head
        return MatrixId(-1, "embedding") if tied else matrix

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the token ids of a text, int64 [n], without special tokens.

        Raises:
            CimsimError: if the tokenizer's vocabulary is larger than the embedding.
        """
        return self.encode_with_ends(text)[0]

    def encode_with_ends(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the token ids of a text and the character after each, int64 [n] each.

        Raises:
            CimsimError: if the tokenizer's vocabulary is larger than the embedding.
        """
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        ids = np.array(encoded.ids, dtype=np.int64)
        if ids.max(initial=0) >= self.program.vocab_size:
            raise CimsimError(
                "the tokenizer knows tokens that the model does not",
                file=self.folder / "tokenizer.json",
                value=int(ids.max()),
                allowed=f"0 to {self.program.vocab_size - 1}",
            )
        ends = np.array([end for _, end in encoded.offsets], dtype=np.int64)
        return ids, ends

    @cached_property
    def bos(self) -> int | None:
        """The token that every window begins with, or None."""
        return beginning_token(self.folder, self.tokenizer, self.bos_rule)

    def text_tokens(self, context: int) -> int:
        """Return how many tokens of text a window of some length holds."""
        return context if self.bos is None else context - 1

    def windows(self, ids: NDArray[np.int64], wanted: int, context: int) -> NDArray[np.int64]:
        """Cut tokens into windows that follow each other, int64 [windows, context].

        Args:
            ids: int64 [n] tokens of a text.
            wanted: at most so many windows; there are fewer if the text is short.
            context: tokens per window, with the one that begins it, if there is one.
        """
        room = self.text_tokens(context)
        found = min(wanted, len(ids) // room)
        cut = ids[: found * room].reshape(found, room)
        if self.bos is None:
            return cut
        return np.concatenate((np.full((found, 1), self.bos), cut), axis=1)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder's ``tokenizer.json``, loaded on first use.

        It reads texts whole: the truncation and padding that trainers leave in the file are
        switched off. They make sentences into batches; here they would cut text off, or
        score padding as if it were text.
        """
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise CimsimError("the checkpoint has no tokenizer.json", file=self.folder)
        text = read_text_file(path, "tokenizer")
        try:
            return _tokenizer_of(text)
        except Exception as error:  # the library raises bare Exception
            raise CimsimError("the tokenizer cannot be read", file=path) from error


@lru_cache(maxsize=4)
def _tokenizer_of(text: str) -> Tokenizer:
    """Return the tokenizer that a ``tokenizer.json`` describes.

    One for all models of a process that have the same: the library (0.23.3) never gives back what
    a tokenizer remembers of words, four megabytes a run.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - not needed to run from token ids

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def build_program(checkpoint: Checkpoint) -> Program:
    """Return the operations and shapes of a checkpoint."""
    return checkpoint.program


def load_checkpoint(folder: Path, bos: BosRule = "auto") -> Checkpoint:
    """Read a Hugging Face folder: config.json, safetensors and tokenizer.json.

    Every tensor's presence and shape is checked, and each file is read through once, for the
    model's identity and for numbers that are none; matrices are decoded when asked for.

    Args:
        folder: the folder, with one ``model.safetensors`` or shards and their index; see
            `open_weights` for folders with more than that.
        bos: whether windows of text begin with a token that says so; auto asks the tokenizer.

    Raises:
        CimsimError: if the folder is not a whole, safe checkpoint of a known family.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CimsimError("the model folder does not exist", file=folder)
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise CimsimError("not a checkpoint: the folder has no config.json", file=folder)
    config = ConfigReader(config_path, read_json(config_path))
    family = _family(config)
    program = Program(printable(folder.resolve().name), tuple(family.operations(config)))
    # The name of a file in the folder that transformers would take the weights from.
    config.only("transformers_weights")
    files = open_weights(folder)
    weights = StoredWeights(folder, program, family, files)
    return Checkpoint(
        name=program.name,
        folder=folder,
        hash=weights.digest(config_path),
        family=family.model_type,
        program=program,
        warnings=files.warnings,
        bos_rule=bos,
        _weights=weights,
        _cache=MatrixCache(),
    )


def read_shape(path: Path) -> Program:
    """Return the program of the decoder that a config.json describes; no weights are read.

    Its name is that of the folder.

    Raises:
        CimsimError: if the file is of no known family.
    """
    config = ConfigReader(path, read_json(path))
    family = _family(config)
    return Program(printable(path.resolve().parent.name), tuple(family.operations(config)))


def _family(config: ConfigReader) -> Family:
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in FAMILIES:
        return FAMILIES[kind]
    looked = {key: config.get(key) for key in ("architectures", "auto_map")}
    fields = ", ".join(f"{key} = {value}" for key, value in looked.items() if value is not None)
    # No near name: a family that is nearly called so is another family.
    hints = [
        f"looked at model_type and {fields}" if fields else "looked at model_type alone",
        "code that a checkpoint brings is never run" if looked["auto_map"] else None,
    ]
    raise CimsimError(
        "unknown model family",
        file=config.path,
        key="model_type",
        value=kind,
        allowed=", ".join(sorted(FAMILIES)),
        hint="; ".join(hint for hint in hints if hint),
    )
