"""One chip of one cell: the noisy model, the treatment, and what both score on TEST text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.config.device import IdealDevice
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.mac import Mode
from cimsim.model import Correction, Linear, ScoreResult
from cimsim.model.routing import RoutingRecord
from cimsim.results.statistics import load_cv, topk_agreement, total_variation
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.scoring import score_ideal
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer import Untreated
from romer.study.cells import Cell, Kind
from romer.study.charge import charge, replay
from romer.study.quantiser import clipped, quantiser_of
from romer.study.routing import RoutingLogits, routing_divergence
from romer.study.studied_design import StudiedDesign
from romer.study.subject import CleanModel
from romer.study.treatment import treat
from romer.study.verify import verify_worst
from romer.study.weight_error import relative_weight_error

__all__ = ["Bench", "Record", "configure"]

Record = dict[str, Any]  # plain numbers and lists: one line of the cache
Floats = NDArray[np.float32]

TWICE_SEED = 1 << 40  # chip seed of the second copies: far from every other


def configure(chip: str, kind: Kind) -> ChipConfig:
    """Return the chip of a kind."""
    sigma = () if kind.sigma is None else (f"tile.device.sigma_lsb={kind.sigma}",)
    knobs = (
        *kind.overrides,
        *sigma,
        f"tile.weight.scale={quantiser_of(kind.quantiser).scale}",
        f"chip.analog_parts=[{','.join(kind.analog)}]",
        "run.tile_mode=folded",
    )
    return load_chip(find_chip(chip), knobs)


@dataclass(frozen=True)
class _Mean:
    """Two chips' products, averaged: every matrix stored twice."""

    first: Linear
    second: Linear

    def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
        total = self.first(matrix, x, tokens) + self.second(matrix, x, tokens)
        return np.asarray(total * np.float32(0.5), dtype=np.float32)


class Bench:
    """A model on one kind of chip, with what all its chips share.

    Args:
        chip: the chip file.
        subject: the model and its texts.
        kind: the kind of chip.
    """

    def __init__(self, chip: str, subject: CleanModel, kind: Kind) -> None:
        self.subject = subject
        stored = clipped(subject.checkpoint, quantiser_of(kind.quantiser))
        self.design = StudiedDesign.open(configure(chip, kind), subject, stored)
        self._seed = self.design.config.run.seed
        self._deployed: tuple[int, ProgrammedChip] | None = None
        self._untreated: tuple[tuple[int, int, str], Untreated] | None = None

    def deployment(self, chip: int) -> ProgrammedChip:
        """Return one chip; the last one is kept."""
        if self._deployed is None or self._deployed[0] != chip:
            self._deployed = self._untreated = None  # two chips at once are half a gigabyte
            self._deployed = (chip, self.design.deploy(chip))
        return self._deployed[1]

    def shared(self) -> Record:
        """Return what all chips of this kind have in common."""
        design, clean = self.design, self.subject.clean
        windows = self.subject.windows
        ideal = score_ideal(
            design.config,
            design.decoder,
            design.digital,
            design.placed.copies,
            design.ranges,
            windows,
            design.compute,
        )
        return {
            "nll_clean": float(clean.nll.mean()),
            "nll_clean_windows": [float(v) for v in clean.nll.mean(axis=1)],
            "ppl_ideal_int": ideal,
            "ppl_adc_only": float(np.exp(self._without_cell_errors().nll.mean())),
            "device_profile": str(getattr(design.config.tile.device, "profile", "")),
            "temperature_c": design.config.technology.temperature_c,
            "ppl_unigram": self.subject.unigram,
            "load_cv_clean": float(load_cv(clean.trace.load()).mean()),
            "rel_weight_error": relative_weight_error(design),
        }

    def _without_cell_errors(self) -> ScoreResult:
        """Score a chip whose cells hold exact levels: what its converters alone cost."""
        design = self.design
        device = IdealDevice(
            cell_bits=design.config.tile.device.cell_bits,
            g_max_us=design.config.tile.device.g_max_us,
        )
        tile = design.config.tile.model_copy(update={"device": device})
        exact = replace(design, config=design.config.model_copy(update={"tile": tile}))
        linear = exact.deploy(0).linear(None, read_seed=self._seed, mode="folded")
        windows = self.subject.windows
        sequences = np.arange(len(windows), dtype=np.int64)
        return design.decoder.score(windows, linear, sequences=sequences)

    def elsewhere(self, words: str) -> Record:
        """Return which scored windows touch no document with some words.

        Raises:
            CimsimError: if there is none.
        """
        windows = [bool(v) for v in self.subject.elsewhere(words)]
        if not any(windows):
            raise CimsimError(
                "every scored window touches a document with these words",
                key="sensitivities.other_packages",
                value=words,
                hint="score more tokens (test_tokens), or choose rarer words",
            )
        return {"windows": windows}

    def development(self, chip: int, tokens: int) -> Record:
        """Return the loss of an uncalibrated chip on ACCEPT calibration text."""
        prepared = self.subject.prepared(tokens)
        windows = prepared.text.accept
        sequences = np.arange(len(windows), dtype=np.int64)
        linear = self.deployment(chip).linear(None, read_seed=0, mode="folded")
        noisy = self.design.decoder.score(windows, linear, sequences=sequences).nll
        log_p = np.concatenate(prepared.reference.accept_log_p)
        clean = np.take_along_axis(log_p, windows[:, 1:, None], axis=2)
        return {"nll_clean": -float(clean.mean()), "nll_noisy": float(noisy.mean())}

    def noisy(self, chip: int, mode: Mode) -> Record:
        """Score a chip without any treatment."""
        return self._score(self.deployment(chip), None, mode)[1]

    def noisy_timed(self, chip: int, mode: Mode) -> Record:
        """Score a chip without any treatment and replay its routing on the engine."""
        score, row = self._score(self.deployment(chip), None, mode)
        return {**row, **replay(self.design, score.trace, None)}

    def treated(
        self, cell: Cell, chip: int, fitted: Bench, fitted_chip: int, budget: int
    ) -> Record:
        """Score a chip with the treatment of a cell.

        Args:
            cell: the treatment.
            chip: the scored chip.
            fitted: the kind of chip that calibration saw.
            fitted_chip: the chip that calibration saw.
            budget: cells that program-verify may write.
        """
        mode: Mode = "detailed" if cell.tile_mode == "detailed" else "folded"
        if cell.calibrator == "twice":
            return self._twice(chip, mode)
        if cell.calibrator == "verify_worst":
            better, cells = verify_worst(self.deployment(chip), budget)
            return {**self._score(better, None, mode)[1], **_cost(0.0, cells)}
        if cell.calibrator == "quantiser":
            return {**self.noisy(chip, mode), **_cost(0.0, self._cells())}
        if cell.calibrator.startswith("oracle"):
            return self._oracle(cell.calibrator, chip, mode)
        untreated = fitted.untreated(cell, fitted_chip)
        found = treat(untreated, cell.calibrator, guarded=cell.guarded)
        correction = found.correction
        score, row = self._score(self.deployment(chip), correction, mode)
        cost, charged = charge(self.design, correction)
        timed = cell.role == "primary" and chip == cell.chips[0]
        return {
            **row,
            **charged,
            **(replay(self.design, score.trace, cost) if timed else {}),
            "kept": [v.step for v in found.verdicts if v.kept],
            "digest": correction.digest(),
        }

    def untreated(self, cell: Cell, chip: int) -> Untreated:
        """Return where calibration of one chip starts; the last one is kept."""
        key = (chip, cell.tokens, cell.words)
        deployment = self.deployment(chip)
        if self._untreated is None or self._untreated[0] != key:
            prepared = self.subject.prepared(cell.tokens, cell.words)
            self._untreated = (key, Untreated(self.design.task(prepared, deployment, chip)))
        return self._untreated[1]

    def _twice(self, chip: int, mode: Mode) -> Record:
        second = self.design.deploy(chip + TWICE_SEED)
        both = _Mean(
            self.deployment(chip).linear(None, read_seed=self._seed, mode=mode),
            second.linear(None, read_seed=self._seed + 1, mode=mode),
        )
        return {**self._forward(both)[1], **_cost(0.0, self._cells())}

    def _cells(self) -> int:
        """Return the cells that one copy of the whole model takes."""
        return sum(u.cells for u in self.design.placed.placement.units.values())

    def _oracle(self, name: str, chip: int, mode: Mode) -> Record:
        linear = self.deployment(chip).linear(None, read_seed=self._seed, mode=mode)
        if name == "oracle_clean_routing":
            clean = self.subject.clean
            forced = RoutingRecord(clean.experts, clean.gates)
            return {**self._forward(linear, forced)[1], **_cost(0.0, 0)}
        noisy = self._forward(linear)[0]
        forced = RoutingRecord(noisy.experts, noisy.gates)
        return {**self._forward(self.design.digital, forced)[1], **_cost(0.0, 0)}

    def _score(
        self, deployment: ProgrammedChip, correction: Correction | None, mode: Mode
    ) -> tuple[ScoreResult, Record]:
        linear = deployment.linear(correction, read_seed=self._seed, mode=mode)
        return self._forward(linear, None, correction)

    def _forward(
        self,
        linear: Linear,
        routing: RoutingRecord | None = None,
        correction: Correction | None = None,
    ) -> tuple[ScoreResult, Record]:
        """Score TEST text; return the score and its figures."""
        subject = self.subject
        if correction is not None:
            # A correction of another chip is applied all the same: transfer is what is asked.
            correction = replace(correction, model_hash=subject.checkpoint.hash)
        seen = RoutingLogits(subject.windows.size)
        sequences = np.arange(len(subject.windows), dtype=np.int64)
        score = subject.decoder.score(
            subject.windows,
            linear,
            sequences=sequences,
            routing=routing,
            correction=correction,
            observer=seen,
        )
        load, clean = score.trace.load(), subject.clean.trace.load()
        forced = routing is not None
        return score, {
            "nll": float(score.nll.mean()),
            "nll_windows": [float(v) for v in score.nll.mean(axis=1)],
            "load_cv": float(load_cv(load).mean()),
            "load_tv": float(total_variation(load, clean).mean()),
            "topk_agreement": float(topk_agreement(subject.clean.experts, score.experts).mean()),
            "routing_kl": None if forced else routing_divergence(subject.clean_logits, seen),
        }


def _cost(ops: float, cells: int) -> Record:
    return {"digital_ops_per_token": ops, "cells_rewritten": cells, "kept": [], "digest": ""}
