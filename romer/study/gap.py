"""How much of the gap between a chip and its float model a calibration closes, in nats.

    share = (untreated - treated) / (untreated - clean)

of the loss of scored text, chip by chip; untreated is the chip as it is written, in its own codes.
What each part of a method did to calibration text stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.model import Correction
from cimsim.results.statistics import Interval, mean_interval
from cimsim.stages.programmed_chip import ProgrammedChip
from romer import Calibrated, Untreated
from romer.study.studied_design import StudiedDesign
from romer.study.subject import CleanModel
from romer.study.treatment import treat

__all__ = ["GapClosed", "measure_gaps"]

LEAST_NATS = 1e-3  # a smaller gap has no share worth a figure


@dataclass(frozen=True)
class GapClosed:
    """What one method did to some chips.

    Attributes:
        method: a method, steps joined by +, or a treatment of the study.
        gap_nats: untreated less clean loss of each chip.
        closed_nats: untreated less treated loss of each chip.
        found: the correction of each chip.
    """

    method: str
    gap_nats: tuple[float, ...]
    closed_nats: tuple[float, ...]
    found: tuple[Calibrated, ...]

    @property
    def share(self) -> Interval:
        """Share of the gap that is closed, mean over chips and its 95 % interval."""
        pairs = zip(self.closed_nats, self.gap_nats, strict=True)
        return mean_interval([closed / gap for closed, gap in pairs])

    def parts(self) -> str:
        """Return what the steps of the first chip gained on calibration text, nats per token."""
        return "; ".join(
            f"{v.step} {v.gain_nats:+.4f}{'' if v.kept else ' (dropped)'}"
            for v in self.found[0].verdicts
        )


def measure_gaps(
    config: ChipConfig,
    subject: CleanModel,
    methods: Sequence[str],
    chips: Sequence[int],
    tokens: int,
) -> tuple[GapClosed, ...]:
    """Calibrate chips by each method and score them.

    Args:
        config: the chip.
        subject: the model and its texts.
        methods: methods, steps joined by +, or treatments of the study.
        chips: chip seeds.
        tokens: calibration tokens.

    Raises:
        CimsimError: if a chip has no gap to close.
    """
    design = StudiedDesign.open(config, subject)
    prepared, clean = subject.prepared(tokens), float(subject.clean.nll.mean())
    gaps: list[float] = []
    closed: dict[str, list[float]] = {method: [] for method in methods}
    found: dict[str, list[Calibrated]] = {method: [] for method in methods}
    for chip in chips:
        deployed = design.deploy(chip)
        noisy = _loss(design, subject, deployed, None)
        if noisy - clean < LEAST_NATS:
            raise CimsimError(
                f"chip seed {chip} has a gap of {noisy - clean:.2g} nats to its float model: there "
                "is nothing to close",
                key="tile.device",
                hint="take a chip whose cells err more, or score more tokens",
            )
        gaps.append(noisy - clean)
        untreated = Untreated(design.task(prepared, deployed, chip))
        for method in methods:
            treated = treat(untreated, method)
            found[method].append(treated)
            closed[method].append(noisy - _loss(design, subject, deployed, treated.correction))
    return tuple(GapClosed(m, tuple(gaps), tuple(closed[m]), tuple(found[m])) for m in methods)


def _loss(
    design: StudiedDesign, subject: CleanModel, chip: ProgrammedChip, correction: Correction | None
) -> float:
    linear = chip.linear(correction, read_seed=design.config.run.seed, mode="folded")
    windows = subject.windows
    sequences = np.arange(len(windows), dtype=np.int64)
    score = design.decoder.score(windows, linear, sequences=sequences, correction=correction)
    return float(score.nll.mean())
