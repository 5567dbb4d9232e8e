"""Which token a row is: sequence and position of the rows that a model works on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cimsim.errors import CimsimError
from cimsim.workload.matrix import TokenKeys

__all__ = ["TokenTracker"]


class TokenTracker:
    """Notes, before a model computes, which tokens its rows are.

    Row (b, t) of a batch is position `past + t` of sequence `first_sequence + b`, where `past` is
    what the cache holds; `position_ids`, where given, say positions instead.
    """

    def __init__(self) -> None:
        self.first_sequence = 0
        self._sequence = self._position = np.zeros((0, 0), dtype=np.int64)
        self._keys: dict[int, TokenKeys] = {}

    def watch(self, model: nn.Module) -> RemovableHandle:
        """Note the tokens of every call of a model from now on."""
        return model.register_forward_pre_hook(self._note, with_kwargs=True)

    def rows(self, count: int) -> TokenKeys:
        """Return sequence and position of so many rows.

        Where a layer computes the last tokens alone (a head that scores the next one), the rows
        are those of the last positions of every sequence.

        Raises:
            CimsimError: if rows are no whole number of tokens of every sequence.
        """
        batch, length = self._sequence.shape
        if batch == 0 or count % batch or count // batch > length:
            raise CimsimError(
                "a layer works on rows that are not the tokens of this call",
                value=f"{count} rows", allowed=f"{batch} x {length} or the last of each sequence",
                hint="call the module that analogize returned",
            )  # fmt: skip
        if count not in self._keys:
            last = slice(length - count // batch, length)
            both = (self._sequence[:, last], self._position[:, last])
            self._keys[count] = TokenKeys(*(np.ascontiguousarray(a.reshape(-1)) for a in both))
        return self._keys[count]

    def _note(self, _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = named.get("input_ids")
        if ids is None:
            ids = named.get("inputs_embeds")
        if ids is None and given:
            ids = given[0]
        if not isinstance(ids, Tensor) or ids.ndim < 2:
            raise CimsimError(
                "analog layers must know which tokens they see: call the model with input_ids or "
                "inputs_embeds, [sequences, tokens]"
            )
        batch, length = ids.shape[:2]
        cache = named.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        position = named.get("position_ids")
        if position is None:
            position = torch.arange(past, past + length)[None, :]
        first = self.first_sequence
        number = np.arange(first, first + batch)[:, None]
        where = position.to(torch.int64).expand(batch, length)
        self._position = where.cpu().contiguous().numpy()
        self._sequence = np.repeat(number, length, axis=1)
        self._keys = {}
