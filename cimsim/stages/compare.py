"""Chips on equal terms: shares of a full-size model until area, speed or power agree.

A system is `copies` of one chip that holds the shape once: `scale.csv` fits the tiles to the
shape, so tiles beyond one copy (spare ones, or those of a published chip) are trimmed, and no
tile idles. Every copy has its own digital units, memory channels and sequences; copies share
nothing, so nothing saturates that does not saturate in the simulated copy, and area, power and
tokens per second multiply. A batch is per copy.

The reference is one copy of one of the chips. Of every other as much is taken as makes both
equal: copies = figure of the reference / figure of the chip, a fraction, which stands for the
proportion in which two large systems would be built. Nothing is scaled between precisions, and
between process nodes only on request (`cimsim.stages.node_scaling`); systems are ranked only
within one class of node and bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cimsim.errors import CimsimError, nearest
from cimsim.results import Row, number_of, pair_rows, pareto_front
from cimsim.results.scale_rows import DECODE, MEMORY
from cimsim.stages.baselines import BaselineSystem, baseline_systems
from cimsim.stages.contenders import Contender, Iso
from cimsim.stages.cost_spread import Spread, interval
from cimsim.stages.node_scaling import NODE_RULE, at_node
from cimsim.stages.rankings import Ranking, rankings
from cimsim.workload.program import Program

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["ComparedSystem", "Comparison", "compare_chips"]


@dataclass(frozen=True)
class ComparedSystem:
    """Copies of one chip.

    Attributes:
        chip: one copy.
        copies: how many, or what fraction of one.
        on_front: whether no other system of its class beats it in energy per token, tokens per
            second, area and perplexity together; never of a destroyed one.
        spread: one copy in draws of the cost model's constants; None where not known.
    """

    chip: Contender
    copies: float
    on_front: bool
    spread: Spread | None = None

    @property
    def perplexity(self) -> tuple[float, float, float]:
        """Mean, low and high end of the calibrated perplexity's 95 % interval."""
        mean, low, high = (
            number_of(self.chip.row, f"ppl_calibrated_{x}") for x in ("mean", "ci_low", "ci_high")
        )
        return mean, low, high

    def as_dict(self) -> dict[str, object]:
        """Return every figure with its unit in the name."""
        chip, copies, spread = self.chip, self.copies, self.spread
        energies = (None, None) if spread is None else interval(spread.energy_nj)
        areas = (None, None) if spread is None else interval(copies * spread.area_mm2)
        node, weight, inputs = chip.precision
        mean, low, high = self.perplexity
        return {
            "config": chip.name,
            "device": chip.scale["device"],
            "node_nm": node,
            "weight_bits": weight,
            "input_bits": inputs,
            "adc_bits": chip.scale["adc_bits"],
            "adc_model": chip.scale["adc_model"],
            "copies": copies,
            "tiles": copies * chip.tiles,
            "dies": copies * number_of(chip.scale, "dies"),
            "area_mm2": copies * chip.area_mm2,
            "area_low_mm2": areas[0],
            "area_high_mm2": areas[1],
            "power_w": copies * chip.power_w,
            "tokens_per_s": copies * chip.tokens_per_s,
            "energy_per_token_nj": chip.energy_per_token_nj,
            "energy_per_token_low_nj": energies[0],
            "energy_per_token_high_nj": energies[1],
            "tpot_us": number_of(chip.scale, "latency_us"),
            "tpot_error_us": chip.scale["latency_error_us"],
            "critical_resource": chip.scale["critical_resource"],
            "ppl_float": chip.row["ppl_float"],
            "ppl_mean": mean,
            "ppl_ci_low": low,
            "ppl_ci_high": high,
            "ppl_unigram": chip.row["ppl_unigram"],
            "destroyed": chip.destroyed,
            "calibrator": chip.row["calibrator"],
            "chip_seeds": chip.row["chip_seeds"],
            "scored_tokens": chip.row["tokens"],
            "chip_hash": chip.row["chip_hash"],
            "pareto": self.on_front,
        }


@dataclass(frozen=True)
class Comparison:
    """Systems made equal.

    Attributes:
        iso: in what they are equal.
        reference: name of the chip of which one copy is taken.
        shape: model whose shape is timed and charged.
        phase: decode, or decode with an off-chip memory that transfers in no time.
        batch: sequences that a copy decodes at once.
        systems: in the order of the command.
        node_nm: to which figures were scaled, or None.
        warnings: one sentence each.
        pairs: rows of pairs.csv: losses against the reference.
        rankings: neighbours in every figure, and whether what the cost model does not know
            could turn them; empty where draws are not known.
        baselines: rooflines of digital devices at the same shape and context.
    """

    iso: Iso
    reference: str
    shape: str
    phase: str
    batch: int
    systems: tuple[ComparedSystem, ...]
    node_nm: float | None
    warnings: tuple[str, ...]
    pairs: tuple[Row, ...]
    rankings: tuple[Ranking, ...] = ()
    baselines: tuple[BaselineSystem, ...] = ()

    def beside(self, baselines: Sequence[str], program: Program) -> Comparison:
        """Return the comparison with digital baselines, as much of each as equals the reference.

        Args:
            baselines: bundled names or files.
            program: the shape that the chips decode.

        Raises:
            CimsimError: if a baseline does not exist or its file does not hold one.
        """
        one = next(s.chip for s in self.systems if s.chip.name == self.reference)
        found = baseline_systems(baselines, program, self.iso, one)
        return replace(self, baselines=found)

    def classes(self) -> dict[tuple[float, int, int], list[ComparedSystem]]:
        """Systems that may be ranked together, by node and bits."""
        found: dict[tuple[float, int, int], list[ComparedSystem]] = {}
        for system in self.systems:
            found.setdefault(system.chip.precision, []).append(system)
        return found

    def frame(self) -> DataFrame:
        """Return a row per system: the keys of JSON as columns."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        return DataFrame([system.as_dict() for system in self.systems])

    def as_dict(self) -> dict[str, object]:
        """Return everything for JSON."""
        return {
            "iso": self.iso,
            "reference": self.reference,
            "shape": self.shape,
            "phase": self.phase,
            "batch_per_copy": self.batch,
            "node_nm": self.node_nm,
            "warnings": list(self.warnings),
            "systems": [s.as_dict() for s in self.systems],
            "pairs": list(self.pairs),
            "rankings": [r.as_dict() for r in self.rankings],
            "baselines": [b.as_dict() for b in self.baselines],
        }


def compare_chips(
    chips: Sequence[Contender],
    iso: Iso,
    *,
    reference: str | None = None,
    node_nm: float | None = None,
    notes: Sequence[str] = (),
    spreads: Mapping[str, Spread] | None = None,
) -> Comparison:
    """Take as much of every chip as equals one copy of the reference.

    Args:
        chips: at least two.
        iso: in what they shall be equal.
        reference: name of a chip, the first by default.
        node_nm: node to which every chip is scaled; None scales none.
        notes: what else the chips were given, one sentence each.
        spreads: every chip in draws of the cost model's constants, at its own node.

    Raises:
        CimsimError: if the reference is none of the chips.
    """
    notes, own = list(notes), chips
    if node_nm is not None:
        notes.append(NODE_RULE.format(node=node_nm))
        scaled = [at_node(c, node_nm) for c in chips]
        chips = [c for c, _ in scaled]
        notes += dict.fromkeys(note for _, found in scaled for note in found)
    drawn = {} if spreads is None else _moved(spreads, own, chips)
    one = _reference(chips, reference)
    copies = [one.figure(iso) / c.figure(iso) for c in chips]
    rows = [one, *(c for c in chips if c is not one)]
    return Comparison(
        iso=iso,
        reference=one.name,
        shape=str(one.scale["shape"]),
        phase=str(one.scale["phase"]),
        batch=int(number_of(one.scale, "batch")),
        systems=tuple(
            ComparedSystem(chip, share, front, drawn.get(chip.name))
            for chip, share, front in zip(chips, copies, _fronts(chips, copies), strict=True)
        ),
        node_nm=node_nm,
        warnings=(*notes, *_warnings(chips)),
        pairs=tuple(pair_rows([(c.row, c.seeds) for c in rows])),
        rankings=rankings(_ranked(chips), drawn, iso) if drawn else (),
    )


def _ranked(chips: Sequence[Contender]) -> list[list[Contender]]:
    """Return the chips that are not destroyed, those of a node and bits together."""
    found: dict[tuple[float, int, int], list[Contender]] = {}
    for chip in chips:
        if not chip.destroyed:
            found.setdefault(chip.precision, []).append(chip)
    return list(found.values())


def _moved(
    spreads: Mapping[str, Spread], own: Sequence[Contender], chips: Sequence[Contender]
) -> dict[str, Spread]:
    """Return draws at the node that figures were scaled to: with the figure's own factor."""
    found = {}
    for before, chip in zip(own, chips, strict=True):
        spread = spreads[chip.name]
        energy = chip.energy_per_token_nj / before.energy_per_token_nj
        area = chip.area_mm2 / before.area_mm2
        found[chip.name] = replace(
            spread, energy_nj=energy * spread.energy_nj, area_mm2=area * spread.area_mm2
        )
    return found


def _reference(chips: Sequence[Contender], name: str | None) -> Contender:
    known = {c.name: c for c in chips}
    if name is None:
        return chips[0]
    if name not in known:
        raise CimsimError(
            "is none of the chips compared",
            key="--reference",
            value=name,
            allowed=", ".join(known),
            hint=nearest(name, known),
        )
    return known[name]


def _fronts(chips: Sequence[Contender], copies: Sequence[float]) -> list[bool]:
    """Return who is on the Pareto front of its class in all four figures, none destroyed."""
    points = np.array(
        [
            (
                c.energy_per_token_nj,
                n * c.tokens_per_s,
                n * c.area_mm2,
                number_of(c.row, "ppl_calibrated_mean"),
            )
            for c, n in zip(chips, copies, strict=True)
        ]
    )
    # What was made equal is equal but for rounding, which must decide nothing.
    points = np.array([[float(f"{x:.10e}") for x in point] for point in points])
    front = np.zeros(len(chips), dtype=np.bool_)
    classes = [c.precision for c in chips]
    for one in dict.fromkeys(classes):
        index = [i for i, c in enumerate(classes) if c == one and not chips[i].destroyed]
        if not index:
            continue
        front[index] = pareto_front(points[index], ("lower", "higher", "lower", "lower"))
    return [bool(f) for f in front]


def _warnings(chips: Sequence[Contender]) -> tuple[str, ...]:
    found = []
    nodes = sorted({c.precision[0] for c in chips})
    if len(nodes) > 1:
        listed = ", ".join(f"{n:g}" for n in nodes)
        found.append(
            f"nodes differ ({listed} nm): nothing is scaled between them (--node does, by a rule)"
        )
    if len({c.precision[1:] for c in chips}) > 1:
        found.append("bits of weights or inputs differ: an operation is not the same everywhere")
    for column, words in (("model", "models"), ("tokens", "numbers of scored tokens")):
        if len({c.row[column] for c in chips}) > 1:
            found.append(f"perplexities are of different {words}")
    waiting = [c.scale["critical_resource"] == MEMORY for c in chips]
    if all(waiting) and chips[0].scale["phase"] == DECODE:
        found.append(
            "every chip waits for its off-chip memory: speeds compare memories "
            "(--equal-memory, --no-memory-limit)"
        )
    lost = [c.name for c in chips if c.destroyed]
    if lost:
        bounds = dict.fromkeys(f"{number_of(c.row, 'ppl_unigram'):.4g}" for c in chips)
        found.append(
            f"destroyed, on no front: {', '.join(lost)}; a unigram model, which knows no context, "
            f"has perplexity {', '.join(bounds)}"
        )
    alone = [c.name for c in chips if c.row["chip_seeds"] == 1]
    if alone:
        found.append(f"one chip seed gives no interval: {', '.join(alone)}")
    plain = [c.name for c in chips if c.row["calibrator"] == "identity"]
    if plain and len(plain) < len(chips):
        found.append(f"not calibrated: {', '.join(plain)}")
    return tuple(found)
