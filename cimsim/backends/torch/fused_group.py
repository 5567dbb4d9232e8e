"""Tiles of several matrices of one shape on a CUDA device, read in one launch.

A launch of its own for each matrix costs the host some hundred microseconds, which is more than the
device takes for the few tokens of an expert. Outputs are those of `FusedTile`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.feeds import Fed
from cimsim.backends.torch.fused import FusedTile
from cimsim.backends.torch.group import Group, Spans
from cimsim.backends.torch.launch import Launch
from cimsim.backends.torch.plain import Tokens
from cimsim.backends.torch.sending import sent, signed_words
from cimsim.backends.torch.unit_columns import UnitCounts, shares
from cimsim.rng import Key

__all__ = ["FusedGroup"]


@dataclass(frozen=True)
class _Together:
    """Launches of matrices of one form, joined into the first.

    Attributes:
        launch: the first.
        stacked: what it reads of all, without blocks.
    """

    launch: Launch
    stacked: Group

    @classmethod
    def of(cls, launches: Sequence[Launch], keys: Sequence[Key]) -> _Together:
        """Stack the constants of matrices.

        Args:
            launches: of each, equal in form, in noise and in what converters have of errors.
            keys: of the noise of each.
        """
        first, device = launches[0], launches[0].cells.device
        start = first.cells.data_ptr()
        places = [
            [launch.cells.data_ptr() - start, *signed_words(key)]
            for launch, key in zip(launches, keys, strict=True)
        ]
        several = [launch.columns for launch in launches]
        columns = first.columns._replace(
            scale=torch.stack([c.scale for c in several]),
            coefficient=torch.stack([c.coefficient for c in several]),
            share=torch.stack([c.share for c in several]),
        )
        if first.errs:
            columns = columns._replace(errors=torch.stack([c.errors for c in several]))
        signs = torch.stack([each.signs for each in launches]) if first.has_signs else first.signs
        table = sent(places, device, torch.int64)
        steps = sent([launch.step_levels for launch in launches], device, torch.float64)
        factors = sent([launch.factors for launch in launches], device, torch.float32)
        return cls(first, Group(columns, signs, steps, table, table, factors))

    def on(self, spans: Spans) -> Group:
        """Return what a launch reads if each matrix has the tokens of a span; some have none."""
        starts, ends = np.array(spans, dtype=np.int64).T
        tokens = self.launch.tokens_of_program
        programs = -(-(ends - starts) // tokens)
        matrix = np.repeat(np.arange(len(spans)), programs)
        number = np.arange(len(matrix)) - np.repeat(np.cumsum(programs) - programs, programs)
        blocks = np.stack([matrix, starts[matrix] + tokens * number, ends[matrix]], 1)
        device = self.launch.cells.device
        return self.stacked._replace(blocks=sent(blocks.astype(np.int32), device))


class FusedGroup:
    """Tiles that join (`FusedTile.joins`), of matrices of one shape.

    Args:
        tiles: of the matrices, one copy each; each joins the first.
        read_seed: of fresh noise.
    """

    def __init__(self, tiles: Sequence[FusedTile], read_seed: int) -> None:
        keys = [tile.key(read_seed) for tile in tiles]
        self._tiles = tuple(tiles)  # a launch knows where their cells lie, which keeps none alive
        self._pool = tiles[0].pool
        self._weights = _Together.of([tile.kernel for tile in tiles], keys)
        self._units: _Together | None = None
        units = [tile.units for tile in tiles if tile.units is not None]
        if units:
            self._units = _Together.of(units, keys)
        self._counts: list[UnitCounts] = [t.counts for t in tiles if t.counts is not None]

    def feed(self, x: Tensor) -> Fed:
        """Quantise tokens [n, n_in] to what rows are driven with.

        Raises:
            CimsimError: if an input is not finite.
        """
        return self._weights.launch.feed(x)

    def code_sums(self, fed: Fed) -> Tensor:
        """Return the sum of the DAC codes of every token, int64 [n]."""
        return self._weights.launch.code_sums(fed)

    def multiply(
        self, fed: Fed, tokens: Tokens, spans: Spans, clipped: Tensor | None = None
    ) -> Tensor:
        """Return noisy products, float32 [n, n_out]; anything for tokens of no span.

        Args:
            fed: tokens from `feed`, sorted by matrix.
            tokens: their addresses.
            spans: tokens of each matrix.
            clipped: int64 [matrices], to which conversions outside the range are added; or None.
        """
        if self._units is not None:
            group = self._units.on(spans)
            sums = self._units.launch(fed, tokens, group, clipped=clipped, keep="sums")[1]
            fed = replace(fed, units=shares(self._counts, spans, sums))
        group = self._weights.on(spans)
        return self._weights.launch(fed, tokens, group, self._pool, clipped=clipped)[0]
