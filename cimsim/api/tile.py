"""``cimsim.tile``: one tile of a chip: its error by source, the ADC it wants, its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chip, load_chip
from cimsim.api.overrides import Overrides
from cimsim.stages.tile_page import TilePage, study_page, write_figure
from cimsim.stages.tile_text import as_dict

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["StudiedTile", "tile"]


@dataclass(frozen=True)
class StudiedTile(CallResult):
    """Errors and cost of one product on a tile.

    Attributes:
        page: everything behind the figures.
    """

    page: TilePage

    @property
    def title(self) -> str:
        """Chip, matrix and inputs."""
        n_in, n_out = self.page.shape
        return f"{self.page.config.name}: {n_in} x {n_out} weights, {self.page.tokens} inputs"

    @property
    def notes(self) -> Sequence[str]:
        """Knobs without effect, and what the cost model leaves out or extrapolates."""
        return self.page.notes

    def as_dict(self) -> dict[str, Any]:
        """Return every figure, as ``cimsim tile --json`` prints it."""
        return as_dict(self.page)

    def to_frame(self) -> DataFrame:
        """Return a row per source of error: its relative error alone, and without it."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        return DataFrame(self.as_dict()["sources"], columns=["source", "alone", "without"])

    def draw(self, path: str | Path) -> None:
        """Write the figure: error by source, and by bits of the converter.

        Args:
            path: .png or .svg.

        Raises:
            CimsimError: if it cannot be written, or has another ending.
        """
        write_figure(self.page, Path(path))


def tile(
    chip: Chip,
    *,
    matrix: str | Path = "gaussian",
    rows: int | None = None,
    cols: int | None = None,
    tokens: int = 64,
    seed: int = 0,
    overrides: Overrides | None = None,
) -> StudiedTile:
    """Study one tile: error by source, clip rate, the best ADC range and bits, energy, time.

    Args:
        chip: name, file or loaded chip.
        matrix: gaussian, or a .npy file of weights [n_in, n_out].
        rows: inputs of a drawn matrix; None takes the rows of a crossbar.
        cols: outputs of a drawn matrix; None takes 64.
        tokens: input vectors.
        seed: of the chip and of all draws.
        overrides: knobs, ``{"tile.adc.bits": 7}``.

    Raises:
        CimsimError: if nothing of the chip is on crossbars, or the matrix cannot be read.
    """
    config = load_chip(chip, overrides)
    page = study_page(config, matrix=str(matrix), rows=rows, cols=cols, tokens=tokens, seed=seed)
    return StudiedTile(page)
