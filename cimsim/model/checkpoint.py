"""Checkpoints: ordinary Hugging Face folders, read without torch and without pickle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError, nearest
from cimsim.model.config_reader import ConfigReader, read_json
from cimsim.model.families import FAMILIES, Family
from cimsim.model.tensor_file import TensorFile
from cimsim.model.weight_files import WeightFiles, open_weights
from cimsim.text_file import read_text_file, without_mark
from cimsim.workload.matrix import NO_EXPERT, MatrixId
from cimsim.workload.program import Program

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Checkpoint", "build_program", "load_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A trained decoder on disk.

    Attributes:
        name: name of its folder.
        folder: where it lies.
        hash: SHA-256 of configuration and weights, hexadecimal: the model's identity.
        program: its operations, shapes and constants.
        warnings: what a user of its numbers should know, a sentence each.
    """

    name: str
    folder: Path
    hash: str
    program: Program = field(repr=False)
    warnings: tuple[str, ...]
    _family: Family = field(repr=False)
    _files: dict[str, TensorFile] = field(repr=False)

    def matrix(self, matrix: MatrixId) -> NDArray[np.float32]:
        """Return a weight matrix, float32 [n_in, n_out], C-contiguous, for ``x @ W``."""
        tied = matrix.role == "head" and self.program.tied_head
        stored = self.parameter(-1, "embedding") if tied else self.parameter(*matrix)
        return np.ascontiguousarray(stored.T)

    def parameter(self, layer: int, role: str, expert: int = NO_EXPERT) -> NDArray[np.float32]:
        """Return a digital parameter of an operation, or a matrix, in its stored shape."""
        return self.vector(self._family.tensor(layer, role, expert))

    def vector(self, name: str) -> NDArray[np.float32]:
        """Return a tensor by its stored name and in its stored shape, e.g. a norm's gain."""
        return self._files[name].read(name)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the token ids of a text, int64 [n], without special tokens.

        Raises:
            CimsimError: if the tokenizer's vocabulary is larger than the embedding.
        """
        ids = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
        if ids.max(initial=0) >= self.program.vocab_size:
            raise CimsimError(
                "the tokenizer knows tokens that the model does not",
                file=self.folder / "tokenizer.json",
                value=int(ids.max()),
                allowed=f"0 to {self.program.vocab_size - 1}",
            )
        return ids

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder's ``tokenizer.json``, loaded on first use.

        It reads texts whole: the truncation and padding that trainers leave in the file are
        switched off. They make sentences into batches; here they would cut text off, or
        score padding as if it were text.
        """
        from tokenizers import Tokenizer  # noqa: PLC0415 - not needed to run from token ids

        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise CimsimError("the checkpoint has no tokenizer.json", file=self.folder)
        text = read_text_file(path, "tokenizer")
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise CimsimError("the tokenizer cannot be read", file=path) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def build_program(checkpoint: Checkpoint) -> Program:
    """Return the operations and shapes of a checkpoint."""
    return checkpoint.program


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a Hugging Face folder: config.json, safetensors and tokenizer.json.

    Every tensor's presence, shape and finiteness is checked here, once; matrices are
    decoded when asked for.

    Args:
        folder: the folder, with one ``model.safetensors`` or shards and their index; see
            `open_weights` for folders with more than that.

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
    program = Program(folder.resolve().name, tuple(family.operations(config)))
    # The name of a file in the folder that transformers would take the weights from.
    config.only("transformers_weights")
    weights = open_weights(folder)
    _check_tensors(folder, weights, _expected(program, family))
    return Checkpoint(
        name=program.name,
        folder=folder,
        hash=_digest(config_path, weights.files),
        program=program,
        warnings=weights.warnings,
        _family=family,
        _files=weights.files,
    )


def _family(config: ConfigReader) -> Family:
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise CimsimError(
            "unknown model family",
            file=config.path,
            key="model_type",
            value=kind,
            allowed=", ".join(sorted(FAMILIES)),
            hint=nearest(str(kind), FAMILIES),
        )
    return FAMILIES[kind]


def _expected(program: Program, family: Family) -> dict[str, tuple[int, ...]]:
    """Return the stored shape of every tensor that the forward pass uses."""
    shapes: dict[str, tuple[int, ...]] = {}
    for operation in program.operations:
        for role, shape in operation.parameters.items():
            shapes[family.tensor(operation.layer, role)] = shape
    for matrix in program.matrices():
        if matrix.id.role != "head" or not program.tied_head:
            shapes[family.tensor(*matrix.id)] = (matrix.n_out, matrix.n_in)
    return shapes


def _check_tensors(
    folder: Path, weights: WeightFiles, expected: dict[str, tuple[int, ...]]
) -> None:
    files = weights.files
    for name, shape in expected.items():
        if name not in files:
            raise CimsimError(
                f"the checkpoint lacks tensor {name!r}",
                file=folder,
                hint="; ".join(weights.warnings) or None,
            )
        found = files[name].tensors[name].shape
        if found != shape:
            raise CimsimError(
                f"tensor {name!r} does not have the shape that config.json implies",
                file=files[name].path,
                value=list(found),
                allowed=str(list(shape)),
            )
        if not files[name].is_finite(name):
            raise CimsimError(f"tensor {name!r} is not finite", file=files[name].path)
    for name, file in files.items():
        # Buffers of old writers and the unused copy of a tied head are harmless.
        known = name in expected or name == "lm_head.weight" or name.endswith("inv_freq")
        if not known:
            raise CimsimError(
                f"tensor {name!r} has no place in this architecture",
                file=file.path,
                hint="config.json and the weights do not describe the same model",
            )


def _digest(config_path: Path, files: dict[str, TensorFile]) -> str:
    state = hashlib.sha256(without_mark(config_path.read_bytes()))
    by_path = {file.path.name: file for file in files.values()}
    for name in sorted(by_path):
        state.update(f"\n{name} {by_path[name].digest()}".encode())
    return state.hexdigest()
