"""One chip of one cell: the noisy model, the treatment, and what both score on TEST text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.mac import Mode
from cimsim.model import Correction, Linear, ScoreResult, digital_ops_per_token
from cimsim.model.correction_cost import rewritten_matrices
from cimsim.model.routing import RoutingRecord
from cimsim.results.statistics import load_cv, topk_agreement, total_variation
from cimsim.stages.deployment import Deployment
from cimsim.stages.scoring import score_clean, score_ideal
from cimsim.units import OPS_PER_MAC
from cimsim.workload.program import MatrixId, TokenKeys
from romer import calibrate
from romer.study.heldout import test_windows
from romer.study.laboratory import Laboratory, Prepared
from romer.study.plan import Cell, Plan

__all__ = ["Bench", "Record", "configure"]

Record = dict[str, Any]  # plain numbers and lists: one line of the cache
Floats = NDArray[np.float32]

TWICE_SEED = 1 << 40  # chip seed of the second copies: far from every other


def configure(plan: Plan, cell: Cell, sigma: float) -> ChipConfig:
    """Return the chip of a cell with some error of programmed weights."""
    parts = ",".join(cell.analog)
    knobs = (
        *cell.overrides,
        f"tile.device.sigma_lsb={sigma}",
        f"chip.analog_parts=[{parts}]",
        "run.tile_mode=folded",
    )
    return load_chip(find_chip(plan["chip"]), knobs)


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
        plan: the study's plan.
        cell: which model and chip; its treatment plays no part here.
        sigma: error of programmed weights, in LSB.
    """

    def __init__(self, plan: Plan, cell: Cell, sigma: float) -> None:
        self._plan = plan
        self.laboratory = Laboratory.open(configure(plan, cell, sigma), cell.model)
        self._prepared: dict[int, Prepared] = {}
        self._deployed: tuple[int, Deployment] | None = None

    def prepared(self, tokens: int) -> Prepared:
        """Return calibration text of some size."""
        if tokens not in self._prepared:
            self._prepared = {tokens: self.laboratory.prepare(tokens)}
        return self._prepared[tokens]

    def deployment(self, chip: int) -> Deployment:
        """Return one chip; the last one is kept."""
        if self._deployed is None or self._deployed[0] != chip:
            self._deployed = (chip, self.laboratory.deploy(chip))
        return self._deployed[1]

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """TEST text."""
        lab = self.laboratory
        context = lab.config.workload.context
        return test_windows(lab.checkpoint, self._plan["test_tokens"], context)

    @cached_property
    def clean(self) -> ScoreResult:
        """The float model on TEST text."""
        return score_clean(self.laboratory.decoder, self.laboratory.digital, self.windows)

    def shared(self) -> Record:
        """Return what all chips of this kind have in common."""
        lab = self.laboratory
        ideal = score_ideal(
            lab.config, lab.decoder, lab.digital, lab.placement, lab.ranges, self.windows
        )
        return {
            "nll_clean": float(self.clean.nll.mean()),
            "ppl_ideal_int": ideal,
            "load_cv_clean": float(load_cv(self.clean.trace.load()).mean()),
            "rel_weight_error": relative_weight_error(lab),
        }

    def noisy(self, chip: int, mode: Mode) -> Record:
        """Score a chip without any treatment."""
        return self._row(self._score(self.deployment(chip), None, mode))

    def treated(self, cell: Cell, chip: int, fitted: Bench, fitted_chip: int) -> Record:
        """Score a chip with the treatment of a cell.

        Args:
            cell: the treatment.
            chip: the scored chip.
            fitted: the kind of chip that calibration saw.
            fitted_chip: the chip that calibration saw.
        """
        mode: Mode = "detailed" if cell.tile_mode == "detailed" else "folded"
        if cell.calibrator == "twice":
            return self._twice(chip, mode)
        if cell.calibrator.startswith("oracle"):
            return self._oracle(cell.calibrator, chip, mode)
        prepared = fitted.prepared(cell.tokens)
        lab = fitted.laboratory
        task = lab.task(prepared, fitted.deployment(fitted_chip), fitted_chip)
        found = calibrate(task, cell.calibrator, guarded=cell.guarded)
        correction = found.correction
        row = self._row(self._score(self.deployment(chip), correction, mode))
        ops = digital_ops_per_token(correction, lab.program)
        return {
            **row,
            "digital_ops_per_token": OPS_PER_MAC * ops.macs + ops.elements,
            "cells_rewritten": self._cells(correction),
            "kept": [v.step for v in found.verdicts if v.kept],
            "digest": correction.digest(),
        }

    def _twice(self, chip: int, mode: Mode) -> Record:
        seed = self.laboratory.config.run.seed
        second = self.laboratory.deploy(chip + TWICE_SEED)
        both = _Mean(
            self.deployment(chip).linear(None, read_seed=seed, mode=mode),
            second.linear(None, read_seed=seed + 1, mode=mode),
        )
        cells = sum(u.cells for u in self.laboratory.placement.units.values())
        return {**self._row(self._forward(both)), **_cost(0.0, cells)}

    def _oracle(self, name: str, chip: int, mode: Mode) -> Record:
        linear = self.deployment(chip).linear(
            None, read_seed=self.laboratory.config.run.seed, mode=mode
        )
        if name == "oracle_clean_routing":
            forced = RoutingRecord(self.clean.experts, self.clean.gates)
            return {**self._row(self._forward(linear, forced)), **_cost(0.0, 0)}
        noisy = self._forward(linear)
        forced = RoutingRecord(noisy.experts, noisy.gates)
        clean = self._forward(self.laboratory.digital, forced)
        return {**self._row(clean), **_cost(0.0, 0)}

    def _score(
        self, deployment: Deployment, correction: Correction | None, mode: Mode
    ) -> ScoreResult:
        seed = self.laboratory.config.run.seed
        linear = deployment.linear(correction, read_seed=seed, mode=mode)
        return self._forward(linear, None, correction)

    def _forward(
        self,
        linear: Linear,
        routing: RoutingRecord | None = None,
        correction: Correction | None = None,
    ) -> ScoreResult:
        if correction is not None:
            # A correction of another chip is applied all the same: transfer is what is asked.
            checkpoint = self.laboratory.checkpoint
            correction = replace(correction, model_hash=checkpoint.hash)
        sequences = np.arange(len(self.windows), dtype=np.int64)
        return self.laboratory.decoder.score(
            self.windows, linear, sequences=sequences, routing=routing, correction=correction
        )

    def _row(self, score: ScoreResult) -> Record:
        load = score.trace.load()
        clean = self.clean.trace.load()
        agree = topk_agreement(self.clean.experts, score.experts)
        return {
            "nll": float(score.nll.mean()),
            "nll_windows": [float(v) for v in score.nll.mean(axis=1)],
            "load_cv": float(load_cv(load).mean()),
            "load_tv": float(total_variation(load, clean).mean()),
            "topk_agreement": float(agree.mean()),
        }

    def _cells(self, correction: Correction) -> int:
        """Return the cells that a correction writes, all placed copies."""
        placement = self.laboratory.placement
        size = {
            t.matrix.id: (t.cells, len(placement.seats_of.get(key, ())) or 1)
            for key, unit in placement.units.items()
            for t in unit.tilings
        }
        placed = replace(correction, replicas=())
        cells = sum(
            size[m.id][0] * size[m.id][1]
            for m in rewritten_matrices(placed, self.laboratory.program)
            if m.id in size
        )
        for r in correction.replicas:  # copies that the placement did not make
            key = UnitKey(r.layer, r.part, r.expert)
            missing = r.copies - len(placement.seats_of.get(key, ()))
            cells += max(0, missing) * placement.units[key].cells
        return cells


def _cost(ops: float, cells: int) -> Record:
    return {"digital_ops_per_token": ops, "cells_rewritten": cells, "kept": [], "digest": ""}


def relative_weight_error(lab: Laboratory) -> float:
    """Return the root mean square of sigma x LSB / rms(W) over the analog matrices.

    The device model's own figure (form N1: additive, in LSB of the stored code), not a
    measurement; nan for other devices.
    """
    device = lab.config.tile.device
    if device.kind != "eflash" or device.profile not in ("25c", "80c_assumed"):
        return math.nan
    sigma = device.sigma_lsb
    if device.profile == "80c_assumed":
        sigma *= device.temperature_factor
    per_column = lab.config.tile.weight.scale == "per_column"
    shares = []
    for unit in lab.placement.units.values():
        for tiling in unit.tilings:
            weight = lab.checkpoint.matrix(tiling.matrix.id).astype(np.float64)
            greatest = np.abs(weight).max(axis=0) if per_column else np.abs(weight).max()
            step = greatest / (2 ** (lab.config.tile.weight.bits - 1) - 1)
            shares.append(float(np.mean((sigma * step) ** 2) / np.mean(weight**2)))
    return float(np.sqrt(np.mean(shares)))
