"""A run as the report sees it: numbered chips, grouped by what may be ranked together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cimsim.report.cells import EMPTY, bits_label, flag, number, optional, significant, text
from cimsim.results import ChipResult, Row, RunResults, pair_rows
from cimsim.results.statistics import Paired, paired_difference

__all__ = ["Design", "View", "off_chip_share"]

# The row of scale.csv that comparisons across chips use.
SCALE_PHASE = "decode"
SCALE_BATCH = 32


@dataclass(frozen=True)
class Design:
    """One chip with one model, with its number in figures.

    Attributes:
        index: 1, 2, ... in the order of the command.
        chip: its results.
    """

    index: int
    chip: ChipResult

    @property
    def name(self) -> str:
        """Its name in the run."""
        return self.chip.name

    @property
    def row(self) -> Row:
        """Its row of results.csv."""
        return self.chip.row

    @property
    def bits(self) -> tuple[int, int]:
        """Weight and input bits: chips of different bits are never ranked together."""
        return int(number(self.row, "weight_bits")), int(number(self.row, "input_bits"))

    @property
    def adc(self) -> str:
        """ADC bits in words."""
        bits = optional(self.row, "adc_bits")
        return "no ADC" if bits is None else f"ADC {bits:.0f} b"

    @property
    def converter(self) -> str:
        """ADC bits and the cost model of the ADC in words."""
        return self.adc if self.row["adc_model"] is None else f"{self.adc}, {self.row['adc_model']}"

    @property
    def crossbar(self) -> str:
        """Rows and columns of a crossbar in words."""
        rows, columns = (optional(self.row, f"crossbar_{side}") for side in ("rows", "cols"))
        return EMPTY if rows is None or columns is None else f"{rows:.0f} x {columns:.0f}"

    @property
    def technology(self) -> str:
        """Cells and node in words."""
        return f"{text(self.row, 'device')} {number(self.row, 'node_nm'):g} nm"

    @property
    def switches(self) -> bool:
        """Whether the chip holds fewer experts than the model has, and switches them."""
        return optional(self.row, "expert_hit_rate") is not None

    @property
    def destroyed(self) -> bool:
        """Whether the calibrated chip has lost all context: it is then ranked nowhere."""
        return flag(self.row, "destroyed_calibrated")

    @property
    def destroyed_before(self) -> bool:
        """Whether the chip has lost all context before calibration."""
        return flag(self.row, "destroyed")

    def scale(self, phase: str = SCALE_PHASE, batch: int = SCALE_BATCH) -> Row | None:
        """Return its row of scale.csv for a phase and batch, or None."""
        for row in self.chip.scale:
            if text(row, "phase") == phase and number(row, "batch") == batch:
                return row
        return None

    @cached_property
    def calibration_effect(self) -> Paired:
        """Perplexity calibrated minus noisy, paired over chip seeds."""
        seeds = self.chip.per_seed
        return paired_difference(
            [number(r, "ppl_noisy") for r in seeds], [number(r, "ppl_calibrated") for r in seeds]
        )


@dataclass(frozen=True)
class View:
    """All chips of a run.

    Attributes:
        run: the results.
        designs: numbered chips, in the order of the command.
    """

    run: RunResults
    designs: tuple[Design, ...]

    @classmethod
    def of(cls, run: RunResults) -> View:
        """Number the chips of a run."""
        return cls(run, tuple(Design(i + 1, c) for i, c in enumerate(run.chips)))

    @cached_property
    def classes(self) -> tuple[tuple[str, tuple[Design, ...]], ...]:
        """Designs that may be ranked together, the largest class first: (label, designs).

        They share weight bits, input bits and the model.
        """
        found: dict[tuple[str, tuple[int, int]], list[Design]] = {}
        for design in self.designs:
            found.setdefault((text(design.row, "model"), design.bits), []).append(design)
        order = sorted(found, key=lambda key: (-len(found[key]), [-b for b in key[1]], key[0]))
        several = len(self.models) > 1
        return tuple(
            (bits_label(bits) + (f", {model}" if several else ""), tuple(found[model, bits]))
            for model, bits in order
        )

    @property
    def groups(self) -> tuple[tuple[str, tuple[Design, ...]], ...]:
        """The same with no label where there is but one class."""
        if len(self.classes) > 1:
            return self.classes
        return tuple(("", designs) for _, designs in self.classes)

    @cached_property
    def pairs(self) -> dict[tuple[str, str], Row]:
        """Rows of pairs.csv by chip and model."""
        rows = pair_rows([(c.row, c.per_seed) for c in self.run.chips])
        return {(text(r, "config"), text(r, "model")): r for r in rows}

    @property
    def models(self) -> tuple[str, ...]:
        """Checkpoints of the run, each once."""
        return tuple(dict.fromkeys(text(d.row, "model") for d in self.designs))

    @property
    def unigrams(self) -> str:
        """Perplexity of a unigram model in words, of each model where they differ."""
        found = {text(d.row, "model"): number(d.row, "ppl_unigram") for d in self.designs}
        several = len(found) > 1
        return ", ".join(
            significant(ppl, 4) + (f" ({model})" if several else "") for model, ppl in found.items()
        )

    @property
    def scaled(self) -> bool:
        """Whether every chip has full-size results for comparisons."""
        return bool(self.designs) and all(d.scale() is not None for d in self.designs)

    @property
    def switches(self) -> bool:
        """Whether any chip switches experts."""
        return any(design.switches for design in self.designs)

    @property
    def seeds(self) -> int:
        """Fewest chip seeds of any chip."""
        return min((int(number(d.row, "chip_seeds")) for d in self.designs), default=0)


def off_chip_share(row: Row) -> float:
    """Return the share of energy that is spent off the chip, from a row of scale.csv."""
    return number(row, "energy_off_chip_per_token_nj") / number(row, "energy_per_token_nj")
