"""The paper's table for whoever has the checkpoint: a model of the user's, a text of the user's.

A row is one size of error at one temperature: perplexity of the clean model, of the chip as it is,
with the paper's two steps (`romer`), and with the recommended method (`romer_plus`), as means over
chips with the interval of the mean; the load's coefficient of variation, and the agreement of
chosen experts with the clean model's. Steps are fitted and accepted on the bundled calibration
text, for each chip anew, and scored on the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.model import Correction, ScoreResult
from cimsim.model.text import perplexity
from cimsim.results.csv_file import csv_of
from cimsim.results.statistics import Interval, load_cv, mean_interval, topk_agreement
from cimsim.stages.programmed_chip import ProgrammedChip
from romer import Untreated, calibrate
from romer.study.studied_design import StudiedDesign
from romer.study.subject import CleanModel

__all__ = ["TREATMENTS", "TableRow", "checkpoint_rows", "csv_table", "markdown_table"]

Windows = NDArray[np.int64]

TREATMENTS = {"two steps": "romer", "recommended": "romer_plus"}


@dataclass(frozen=True)
class TableRow:
    """One size of error at one temperature, means over chips.

    Attributes:
        sigma_lsb: error of a stored weight; None where the device has its own.
        temperature_c: of the chip.
        chips: drawn.
        tokens: of text that were scored.
        ppl_clean: perplexity of the float model.
        ppl_noisy, ppl_two_steps, ppl_recommended: of chips, with 95 % intervals.
        load_cv_clean, load_cv_noisy, load_cv_recommended: of experts, mean over layers.
        agreement_noisy, agreement_recommended: share of chosen experts that the clean model chose.
        kept: how many chips kept a step of the recommended method.
    """

    sigma_lsb: float | None
    temperature_c: float
    chips: int
    tokens: int
    ppl_clean: float
    ppl_noisy: Interval
    ppl_two_steps: Interval
    ppl_recommended: Interval
    load_cv_clean: float
    load_cv_noisy: float
    load_cv_recommended: float
    agreement_noisy: float
    agreement_recommended: float
    kept: int

    def record(self) -> dict[str, object]:
        """Return the row as plain numbers: an interval is three of them."""
        found: dict[str, object] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Interval):
                found |= {
                    item.name: value.mean,
                    f"{item.name}_low": value.low,
                    f"{item.name}_high": value.high,
                }
            else:
                found[item.name] = value
        return found


def checkpoint_rows(
    configs: Sequence[ChipConfig],
    subject: CleanModel,
    windows: Windows,
    chips: int,
    say: Callable[[str], None],
) -> list[TableRow]:
    """Measure a row a configuration.

    Args:
        configs: the chips' kinds.
        subject: the model.
        windows: scored text, int64 [windows, context].
        chips: chip seeds drawn of each kind: 0, 1, ...
        say: told what is computed.

    Raises:
        CimsimError: if the model has no router, or model, chip and texts do not go together.
    """
    if not subject.decoder.program.moe_layers:
        raise CimsimError(
            "the model has no router: the table is about mixtures of experts",
            key="--model",
            value=subject.checkpoint.name,
        )
    clean = subject.decoder.score(windows, subject.digital, sequences=np.arange(len(windows)))
    return [_Kind(config, subject, windows, clean).row(chips, say) for config in configs]


class _Kind:
    """One kind of chip.

    Args:
        config: the chip.
        subject: the model.
        windows: scored text.
        clean: the float model on it.
    """

    def __init__(
        self, config: ChipConfig, subject: CleanModel, windows: Windows, clean: ScoreResult
    ) -> None:
        self._config, self._subject = config, subject
        self._windows, self._clean = windows, clean
        self._design = StudiedDesign.open(config, subject)

    def row(self, chips: int, say: Callable[[str], None]) -> TableRow:
        """Draw chips, treat and score them."""
        sigma = getattr(self._config.tile.device, "sigma_lsb", None)
        found: dict[str, list[ScoreResult]] = {name: [] for name in ("noisy", *TREATMENTS)}
        kept = 0
        for seed in range(chips):
            say(f"{self._config.name}, sigma {sigma}: chip {seed + 1} of {chips}")
            deployed = self._design.deploy(seed)
            found["noisy"].append(self._score(deployed, None))
            prepared = self._subject.prepared(self._config.calibration.tokens)
            task = self._design.task(prepared, deployed, seed)
            untreated = Untreated(task)
            for name, method in TREATMENTS.items():
                correction = calibrate(task, method, untreated=untreated).correction
                same = correction.is_identity
                kept += name == "recommended" and not same
                score = found["noisy"][-1] if same else self._score(deployed, correction)
                found[name].append(score)
        return TableRow(
            sigma_lsb=sigma,
            temperature_c=self._config.technology.temperature_c,
            chips=chips,
            tokens=self._windows.size,
            ppl_clean=perplexity(self._clean.nll),
            ppl_noisy=_ppl(found["noisy"]),
            ppl_two_steps=_ppl(found["two steps"]),
            ppl_recommended=_ppl(found["recommended"]),
            load_cv_clean=_cv([self._clean]),
            load_cv_noisy=_cv(found["noisy"]),
            load_cv_recommended=_cv(found["recommended"]),
            agreement_noisy=self._agreement(found["noisy"]),
            agreement_recommended=self._agreement(found["recommended"]),
            kept=kept,
        )

    def _score(self, deployed: ProgrammedChip, correction: Correction | None) -> ScoreResult:
        run = self._config.run
        linear = deployed.linear(correction, read_seed=run.seed, mode=run.tile_mode)
        sequences = np.arange(len(self._windows), dtype=np.int64)
        return self._subject.decoder.score(
            self._windows, linear, sequences=sequences, correction=correction
        )

    def _agreement(self, scores: Sequence[ScoreResult]) -> float:
        each = [topk_agreement(self._clean.experts, s.experts).mean() for s in scores]
        return float(np.mean(each))


def _ppl(scores: Sequence[ScoreResult]) -> Interval:
    return mean_interval([perplexity(score.nll) for score in scores])


def _cv(scores: Sequence[ScoreResult]) -> float:
    return float(np.mean([load_cv(score.trace.load()).mean() for score in scores]))


def csv_table(rows: Sequence[TableRow]) -> bytes:
    """Return the rows as the bytes of a CSV file."""
    records = [row.record() for row in rows]
    return csv_of(list(records[0]), records)


def markdown_table(rows: Sequence[TableRow]) -> str:
    """Return the rows as a table that people read."""
    heads = ("sigma LSB", "deg C", "chips", "clean", "noisy", "two steps", "recommended",
             "load CV clean / noisy / rec.", "agreement noisy / rec.", "kept")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = (
            "its own" if row.sigma_lsb is None else f"{row.sigma_lsb:g}",
            f"{row.temperature_c:g}",
            str(row.chips),
            f"{row.ppl_clean:.2f}",
            *map(_shown, (row.ppl_noisy, row.ppl_two_steps, row.ppl_recommended)),
            f"{row.load_cv_clean:.2f} / {row.load_cv_noisy:.2f} / {row.load_cv_recommended:.2f}",
            f"{row.agreement_noisy:.1%} / {row.agreement_recommended:.1%}",
            f"{row.kept} of {row.chips}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: Interval) -> str:
    if value.samples < 2:
        return f"{value.mean:.2f}"
    return f"{value.mean:.2f} ({value.low:.2f} to {value.high:.2f})"
