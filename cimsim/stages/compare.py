"""Chips on equal terms: whole copies of a full-size model until area, speed or power agree.

A system is `copies` data-parallel copies of one chip that holds the shape once: `scale.csv`
fits the tiles to the shape, so tiles beyond one copy (spare ones, or those of a published
chip) are trimmed, and no tile idles. Every copy has its own digital units, memory channels
and sequences; copies share nothing, so nothing saturates that does not saturate in the
simulated copy, and area, power and tokens per second multiply. A batch is per copy.

Copies are whole, so equality is approximate: the smallest counts are taken for which the
largest is at most 2 % above the smallest. Nothing is scaled between process nodes or
precisions; systems are ranked only within one class of node and bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.results import Row, number_of, pair_rows, pareto_front
from cimsim.stages.contenders import Contender, Iso

__all__ = [
    "EQUAL_WITHIN",
    "ComparedSystem",
    "Comparison",
    "compare_chips",
]

EQUAL_WITHIN = 0.02
# With so many copies of the largest chip rounding is below 2 % for any others.
MAX_COPIES = 64


@dataclass(frozen=True)
class ComparedSystem:
    """Copies of one chip.

    Attributes:
        chip: one copy.
        copies: how many.
        on_front: whether no other system of its class beats it in energy per token, tokens per
            second, area and perplexity together; never of a destroyed one.
    """

    chip: Contender
    copies: int
    on_front: bool

    @property
    def perplexity(self) -> tuple[float, float, float]:
        """Mean, low and high end of the calibrated perplexity's 95 % interval."""
        mean, low, high = (
            number_of(self.chip.row, f"ppl_calibrated_{x}") for x in ("mean", "ci_low", "ci_high")
        )
        return mean, low, high

    def as_dict(self) -> dict[str, object]:
        """Return every figure with its unit in the name."""
        chip, copies = self.chip, self.copies
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
            "area_mm2": copies * chip.area_mm2,
            "power_w": copies * chip.power_w,
            "tokens_per_s": copies * chip.tokens_per_s,
            "energy_per_token_nj": chip.energy_per_token_nj,
            "latency_us": chip.scale["latency_us"],
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
        shape: model whose shape is timed and charged.
        batch: sequences that a copy decodes at once.
        systems: in the order of the command.
        spread: largest over smallest of what is equal, minus 1.
        warnings: one sentence each.
        pairs: rows of pairs.csv: losses against the first chip.
    """

    iso: Iso
    shape: str
    batch: int
    systems: tuple[ComparedSystem, ...]
    spread: float
    warnings: tuple[str, ...]
    pairs: tuple[Row, ...]

    def classes(self) -> dict[tuple[float, int, int], list[ComparedSystem]]:
        """Systems that may be ranked together, by node and bits."""
        found: dict[tuple[float, int, int], list[ComparedSystem]] = {}
        for system in self.systems:
            found.setdefault(system.chip.precision, []).append(system)
        return found

    def as_dict(self) -> dict[str, object]:
        """Return everything for JSON."""
        return {
            "iso": self.iso,
            "shape": self.shape,
            "phase": "decode",
            "batch_per_copy": self.batch,
            "equal_within": EQUAL_WITHIN,
            "spread": self.spread,
            "warnings": list(self.warnings),
            "systems": [s.as_dict() for s in self.systems],
            "pairs": list(self.pairs),
        }


def compare_chips(chips: Sequence[Contender], iso: Iso) -> Comparison:
    """Replicate chips until they are equal.

    Args:
        chips: at least two.
        iso: in what they shall be equal.
    """
    figures = np.array([c.figure(iso) for c in chips])
    copies = _equal_copies(figures)
    equal = figures * copies
    first = chips[0].scale
    return Comparison(
        iso=iso,
        shape=str(first["shape"]),
        batch=int(number_of(first, "batch")),
        systems=tuple(
            ComparedSystem(c, int(n), bool(front))
            for c, n, front in zip(chips, copies, _fronts(chips, copies), strict=True)
        ),
        spread=float(equal.max() / equal.min() - 1.0),
        warnings=_warnings(chips),
        pairs=tuple(pair_rows([(c.row, c.seeds) for c in chips])),
    )


def _equal_copies(figures: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the smallest whole copies whose figures agree within 2 %, [chips]."""
    for most in range(1, MAX_COPIES + 1):
        wanted = np.rint(most * figures.max() / figures)
        copies: NDArray[np.int64] = np.maximum(1, wanted).astype(np.int64)
        equal = copies * figures
        if equal.max() <= (1.0 + EQUAL_WITHIN) * equal.min():
            return copies
    message = "no number of copies makes the chips equal"
    raise CimsimInternalError(message)


def _fronts(chips: Sequence[Contender], copies: NDArray[np.int64]) -> list[bool]:
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
        found.append(f"nodes differ ({listed} nm): nothing is scaled between them")
    if len({c.precision[1:] for c in chips}) > 1:
        found.append("bits of weights or inputs differ: an operation is not the same everywhere")
    for column, words in (("model", "models"), ("tokens", "numbers of scored tokens")):
        if len({c.row[column] for c in chips}) > 1:
            found.append(f"perplexities are of different {words}")
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
