"""The model of a run with the texts that it reads, as far as they do not depend on the chip."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.cache import Stages
from cimsim.config import ChipConfig
from cimsim.model import Checkpoint, Decoder, FloatLinear, ScoreResult
from cimsim.results.packed import digest_of
from cimsim.stages.compute import Compute, computed_by
from cimsim.stages.exactness import is_exact
from cimsim.stages.input_channels import scale_channels
from cimsim.stages.models import (
    Texts,
    calibration_windows,
    open_model,
    scored_windows,
    spread_windows,
)
from cimsim.stages.opened import Opened
from cimsim.stages.reparametrised import reparametrise
from cimsim.stages.scoring import score_clean
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["ModelOnText", "open_subject"]

Windows = NDArray[np.int64]

PROFILE_WINDOWS = 4  # of calibration text, from which converter ranges are taken


@dataclass(frozen=True)
class ModelOnText:
    """A model and the windows of text that it is run on, int64 [windows, context].

    Attributes:
        decoder: the model.
        digital: its float products.
        texts: what the windows are cut from.
        windows: scored and timed.
        profile: for converter ranges.
        sampled: calibration text from which a placement's load is expected.
        compute: what carries out the numbers.
        computed: its identity.
        opened: stages that are kept, and what the process has open.
        elsewhere: the same on further devices, which take a share of the chip seeds.
    """

    decoder: Decoder
    digital: FloatLinear
    texts: Texts
    windows: Windows
    profile: Windows
    sampled: Windows
    compute: Compute
    computed: str = "numba"
    opened: Opened = field(default_factory=Opened)
    elsewhere: tuple[ModelOnText, ...] = ()

    @property
    def stages(self) -> Stages:
        """Computes stages, or finds what they gave before."""
        return self.opened.stages

    @property
    def checkpoint(self) -> Checkpoint:
        """The model on disk."""
        return self.decoder.checkpoint

    @property
    def program(self) -> Program:
        """Its operations."""
        return self.decoder.program

    @cached_property
    def expected(self) -> RoutingTrace:
        """Routing of the clean model on sampled text: what a chip is placed for."""
        return self._clean_on(self.sampled).trace

    @cached_property
    def clean(self) -> ScoreResult:
        """Score and routing of the clean model on the scored text."""
        return self._clean_on(self.windows)

    @cached_property
    def model(self) -> dict[str, object]:
        """What decides a number beside chip and text: the model, and what computes."""
        return {"model": self.checkpoint.hash, "bos": self.texts.bos, "computed": self.computed}

    @cached_property
    def scored(self) -> dict[str, object]:
        """What decides the score of a chip beside the chip."""
        return {**self.model, "windows": digest_of(self.windows)}

    def on(self, compute: Compute) -> ModelOnText:
        """Return the model and its texts where something else computes."""
        return replace(
            self,
            decoder=Decoder(self.checkpoint, compute.backend),
            digital=FloatLinear(self.checkpoint, compute.backend),
            compute=compute,
        )

    def _clean_on(self, windows: Windows) -> ScoreResult:
        whole = {**self.model, "windows": windows}
        return self.opened.clean(
            digest_of(whole),
            lambda: self.stages.watch().recall(
                "clean", whole, lambda: score_clean(self.decoder, self.digital, windows)
            ),
        )


def open_subject(
    model: str, texts: Texts, config: ChipConfig, opened: Opened | None = None
) -> ModelOnText:
    """Open a model and cut the texts of a run.

    Args:
        model: bundled name or checkpoint folder.
        texts: scored and calibration text.
        config: says how many tokens of each.
        opened: stages that are kept, and what the process has open; None begins with nothing.

    Raises:
        CimsimError: if model and texts do not go together.
    """
    checkpoint, opened = open_model(model, texts.bos), opened or Opened()
    drawn = 1 if is_exact(config.tile) else config.run.chip_seeds
    layers = len(checkpoint.program.layers)
    compute, *others = opened.computes(config.run, drawn, layers, checkpoint.hash)
    budget = (config.calibration.tokens, config.workload.context)
    profile = calibration_windows(checkpoint, texts, *budget)[:PROFILE_WINDOWS]
    if config.calibration.inputs != "as_trained":
        checkpoint = reparametrise(checkpoint, config.calibration.inputs, profile)
    if config.tile.input.scale == "per_channel":
        parts = config.chip.analog_parts
        checkpoint = scale_channels(checkpoint, parts, profile, compute.backend)
    found = ModelOnText(
        decoder=Decoder(checkpoint, compute.backend),
        digital=FloatLinear(checkpoint, compute.backend),
        texts=texts,
        windows=scored_windows(checkpoint, texts, config.workload),
        profile=profile,
        sampled=spread_windows(checkpoint, texts, *budget),
        compute=compute,
        computed=computed_by(config),
        opened=opened,
    )
    compute.enter()
    return replace(found, elsewhere=tuple(found.on(other) for other in others))
