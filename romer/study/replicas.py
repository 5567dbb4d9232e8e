"""What copies in idle crossbars do to latency, at equal crossbars.

One chip, one mesh: the placement puts one copy of every matrix on it, or also fills the
crossbars that would idle with copies of what is busiest: experts, and blocks that every
token passes. Both expect the load of one half of the text and serve the other half, whose
routing is replayed in decode on the engine. Cells play no part: routing is that of the
clean model, or synthetic with Zipf popularity.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.model import build_program
from cimsim.results.statistics import load_cv
from cimsim.stages.models import calibration_windows, read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.scoring import score_clean
from cimsim.workload.program import Program
from cimsim.workload.synthetic import Popularity, synthetic_trace
from cimsim.workload.trace import RoutingTrace
from romer.study.charge import Record, decode
from romer.study.subject import CleanModel

__all__ = ["ReplicaGain", "measure_replicas"]


@dataclass(frozen=True)
class ReplicaGain:
    """Decode on one chip without and with copies of busy units.

    Attributes:
        crossbars: of the chip, the same in both.
        expert_copies: further copies of experts that were placed.
        dense_copies: further copies of blocks that every token passes.
        load_cv: coefficient of variation of expert load, mean over layers.
        batch: sequences at once.
        p99_us: 99th percentile of the time per output token, without and with copies.
        tile_max_mean: busiest tile over the mean of tiles with weights, likewise.
        energy_nj: energy per token, likewise.
    """

    crossbars: int
    expert_copies: int
    dense_copies: int
    load_cv: float
    batch: int
    p99_us: tuple[float, float]
    tile_max_mean: tuple[float, float]
    energy_nj: tuple[float, float]

    @property
    def reduction(self) -> float:
        """Share by which the 99th percentile falls."""
        return 1.0 - self.p99_us[1] / self.p99_us[0]


def measure_replicas(
    config: ChipConfig, subject: CleanModel, *, batch: int, context: int, skew: float | None = None
) -> ReplicaGain:
    """Measure latency with and without copies of busy units in idle crossbars.

    Args:
        config: the chip; `mapping.replicas` is set both ways.
        subject: the model.
        batch: sequences decoded at once; as many more are what the placement expects.
        context: tokens of a sequence.
        skew: Zipf exponent of a synthetic routing; None takes the model's own.

    Raises:
        CimsimError: if no crossbar idles, or there are too few tokens for a percentile.
    """
    program = build_program(subject.checkpoint)
    expected, served = _halves(config, subject, program, batch, context, skew)
    found: list[Record] = []
    further: Counter[bool] = Counter()
    for replicas in (False, True):
        mapping = config.mapping.model_copy(update={"replicas": replicas})
        chip = place_chip(config.model_copy(update={"mapping": mapping}), program, expected)
        seats = chip.placement.seats
        further = Counter(s.unit.part == "experts" for s in seats if s.replica)
        found.append(decode(chip, served, batch))
        if found[-1]["p99_us"] is None:
            raise CimsimError(
                "too few tokens for a 99th percentile", key="--batch", value=batch,
                hint="decode more or longer sequences",
            )  # fmt: skip
    if not further:
        raise CimsimError(
            "no crossbar is idle, so nothing can be copied",
            key="chip.spare_fraction",
            value=config.chip.spare_fraction,
            hint="give the chip more spare crossbars",
        )
    before, after = found
    return ReplicaGain(
        crossbars=chip.mesh.n_tiles * chip.mesh.crossbars_per_tile,
        expert_copies=further[True],
        dense_copies=further[False],
        load_cv=float(load_cv(served.load()).mean()),
        batch=batch,
        p99_us=(before["p99_us"], after["p99_us"]),
        tile_max_mean=(before["tile_max_mean"], after["tile_max_mean"]),
        energy_nj=(before["energy_per_token_nj"], after["energy_per_token_nj"]),
    )


def _halves(
    config: ChipConfig,
    subject: CleanModel,
    program: Program,
    batch: int,
    context: int,
    skew: float | None,
) -> tuple[RoutingTrace, RoutingTrace]:
    """Return the routing that the placement expects and the one that is served."""
    if skew is not None:
        trace = synthetic_trace(
            program,
            sequences=2 * batch,
            length=context,
            popularity=Popularity("zipf", skew),
            seed=config.run.seed,
        )
    else:
        tokens = 2 * batch * context
        windows = calibration_windows(subject.checkpoint, read_text(None), tokens, context)
        trace = score_clean(subject.decoder, subject.digital, windows).trace
    first = trace.sequence < batch
    return _part(trace, first), _part(trace, ~first)


def _part(trace: RoutingTrace, rows: NDArray[np.bool_]) -> RoutingTrace:
    return RoutingTrace(
        trace.experts[rows],
        trace.sequence[rows] - int(trace.sequence[rows].min()),
        trace.position[rows],
        trace.n_experts,
    )
