"""Which token a row is: sequence and position of the rows that a model works on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cimsim.backends.torch.plain import Tokens
from cimsim.errors import CimsimError

__all__ = ["TokenTracker"]


class TokenTracker:
    """Notes, before a model computes, which tokens its rows are.

    Row (b, t) of a batch is position `past + t` of sequence `first_sequence + b`, where `past` is
    what the cache holds; `position_ids`, where given, say positions instead.

    Args:
        model: whose calls are watched.
    """

    def __init__(self, model: nn.Module) -> None:
        self.first_sequence = 0
        self._sequence = self._position = torch.zeros((0, 0), dtype=torch.int64)
        model.register_forward_pre_hook(self._note, with_kwargs=True)

    def rows(self, count: int) -> Tokens:
        """Return sequence and position of so many rows, int64 [count] each.

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
        last = slice(length - count // batch, length)
        return self._sequence[:, last].reshape(-1), self._position[:, last].reshape(-1)

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
            position = torch.arange(past, past + length, device=ids.device)[None, :]
        self._position = position.to(torch.int64).expand(batch, length)
        first = self.first_sequence
        number = torch.arange(first, first + batch, device=ids.device)
        self._sequence = number[:, None].expand(batch, length)
