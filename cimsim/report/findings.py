"""What a run says in sentences: findings, warnings, and what its numbers mean."""

from __future__ import annotations

from cimsim.report.cells import (
    energy_unit,
    number,
    optional,
    percent,
    significant,
    text,
)
from cimsim.report.view import SCALE_BATCH, Design, View, off_chip_share
from cimsim.results.destroyed import advice_of
from cimsim.results.scale_rows import MEMORY, leakage_share

__all__ = ["CLIP_WARNING", "basis", "findings", "warnings"]

# Beyond this share of clipped conversions the ADC range, not noise, decides accuracy.
CLIP_WARNING = 0.01
SATURATED = 0.9
MUCH_LEAKAGE = 0.3


def findings(view: View) -> list[str]:
    """Return the main results.

    Chips of different precision are never ranked together, destroyed ones not at all.
    """
    found = []
    for label, designs in view.classes:
        found += _best_of(view, designs, label)
    found += _destroyed(view)
    found += _calibration(view)
    found += _leaking(view)
    return found


def _best_of(view: View, of_class: tuple[Design, ...], label: str) -> list[str]:
    designs = tuple(d for d in of_class if not d.destroyed)
    if not designs:
        return []
    others = "" if len(designs) == len(of_class) else " that are not destroyed"
    if len(designs) == 1:
        only = designs[0]
        alone = f", the only one of {len(of_class)} chips that is not destroyed" if others else ""
        return [
            f"{only.name} ({label}{alone}): perplexity {_ppl(only, 'noisy')} on the chip and "
            f"{_ppl(only, 'calibrated')} calibrated, {significant(_float(only), 4)} in float."
            + _energy_sentence(only)
        ]
    best = min(designs, key=lambda d: number(d.row, "ppl_calibrated_mean"))
    sentences = [
        f"At {label}, {_at_node(best)} is the most accurate of {len(designs)} chips{others}: "
        "perplexity "
        f"{_ppl(best, 'calibrated')} after calibration, {significant(_float(best), 4)} in float."
    ]
    if view.scaled:
        least = min(designs, key=_scale_energy)
        most = max(designs, key=_scale_energy)
        ratio = _scale_energy(most) / _scale_energy(least)
        sentences.append(
            f"At {label}, {_at_node(least)} needs the least energy at full size:"
            f"{_energy_sentence(least)} The hungriest, {_at_node(most)}, needs "
            f"{ratio:.1f} times as much."
        )
    return sentences


def _at_node(design: Design) -> str:
    return f"{design.name} ({number(design.row, 'node_nm'):g} nm)"


def _float(design: Design) -> float:
    return number(design.row, "ppl_float")


def _ppl(design: Design, stage: str) -> str:
    lost = design.destroyed_before if stage == "noisy" else design.destroyed
    value = significant(number(design.row, f"ppl_{stage}_mean"), 4)
    return f"{value} (destroyed)" if lost else value


def _destroyed(view: View) -> list[str]:
    lost = [d for d in view.designs if d.destroyed]
    if not lost:
        return []
    listed = ", ".join(
        f"{d.name} (perplexity {significant(number(d.row, 'ppl_calibrated_mean'), 4)} after "
        f"calibration, {significant(number(d.row, 'ppl_noisy_mean'), 4)} before)"
        for d in lost
    )
    return [
        f"Destroyed, and ranked nowhere: {listed}. A unigram model, which knows no context, has "
        f"{view.unigrams}.",
        *(f"{d.name}: {told}." for d in lost for told in advice_of(d.chip.warnings)),
    ]


def _scale_energy(design: Design) -> float:
    row = design.scale()
    return number(design.row if row is None else row, "energy_per_token_nj")


def _energy_sentence(design: Design) -> str:
    row = design.scale()
    if row is None:
        return ""
    energy = number(row, "energy_per_token_nj")
    unit, size = energy_unit([energy])
    return (
        f" {significant(energy / size)} {unit} per token, {percent(off_chip_share(row), 0)} of it "
        f"off the chip, at the {text(row, 'shape')} shape "
        f"(decode, context {number(row, 'context'):,.0f}, batch {SCALE_BATCH}), "
        f"{significant(number(row, 'tokens_per_s'))} tokens/s on "
        f"{number(row, 'dies'):,.0f} dies, limited by {text(row, 'critical_resource')}."
    )


def _calibration(view: View) -> list[str]:
    calibrated = [d for d in view.designs if text(d.row, "calibrator") != "identity"]
    if not calibrated:
        return ["No chip was calibrated: the calibrator is identity on all of them."]
    touched = [d for d in calibrated if not d.destroyed]
    if not touched:
        return []
    better = [
        d
        for d in touched
        if d.calibration_effect.significant and d.calibration_effect.difference.mean < 0
    ]
    worse = [
        d
        for d in touched
        if d.calibration_effect.significant and d.calibration_effect.difference.mean > 0
    ]
    if view.seeds < 2:
        return ["With one chip seed no effect of calibration can be told from chance."]
    sentence = (
        f"Calibration lowers perplexity beyond chance (95 %, paired over chip seeds) on "
        f"{len(better)} of {len(touched)} calibrated chip{'s' if len(touched) > 1 else ''}"
        + ("" if len(touched) == len(calibrated) else " that are not destroyed")
    )
    # A share of a perplexity that says nothing says nothing.
    ranked = [d for d in better if not d.destroyed_before]
    if ranked:
        top = max(ranked, key=_reduction)
        most = f"; most on {top.name}, by" if len(touched) > 1 else ", by"
        sentence += f"{most} {percent(_reduction(top))}"
    sentence += "."
    same = [d for d in touched if _unchanged(d)]
    if len(same) == len(touched):
        sentence = "Calibration changed nothing: no step lowered the loss on its own text."
    elif same:
        sentence += f" It changed nothing on {', '.join(d.name for d in same)}."
    saved = [d for d in touched if d.destroyed_before]
    if saved:
        sentence += f" Before it {', '.join(d.name for d in saved)} would be destroyed."
    if worse:
        sentence += f" It raises perplexity on {', '.join(d.name for d in worse)}."
    return [sentence]


def _leaking(view: View) -> list[str]:
    """Say what takes much of the energy without ever sleeping."""
    rows = [(d.name, r) for d in view.designs if (r := d.scale()) is not None]
    listed = [
        f"{name} {percent(leakage_share(row), 0)} ({text(row, 'never_sleeping')})"
        for name, row in rows
        if row["never_sleeping"] is not None and leakage_share(row) > MUCH_LEAKAGE
    ]
    if not listed:
        return []
    return [
        f"Leakage at full size (decode, batch {SCALE_BATCH}), share of the energy and what leaks "
        f"without ever sleeping: {', '.join(listed)}. Only what a chip's source says is gated is "
        "(cost.idle)."
    ]


def _unchanged(design: Design) -> bool:
    difference = design.calibration_effect.difference
    return difference.low == difference.mean == difference.high == 0.0


def _reduction(design: Design) -> float:
    noisy = number(design.row, "ppl_noisy_mean")
    return (noisy - number(design.row, "ppl_calibrated_mean")) / noisy


def warnings(view: View) -> list[str]:
    """Return what a reader must not overlook."""
    found = []
    if not view.run.complete:
        found.append("The run was not completed: only the chips below were finished.")
    if view.seeds == 1:
        found.append(
            "One chip seed: no confidence interval, and no effect can be told from chance."
        )
    for design in view.designs:
        clip = optional(design.row, "adc_clip_rate") or 0.0
        told = any("clip" in warning for warning in design.chip.warnings)
        if clip > CLIP_WARNING and not told:
            found.append(
                f"{design.name}: {percent(clip)} of conversions clip; the ADC's range is too "
                "narrow for this model."
            )
    found += [*_unlike(view), *_warnings_of_chips(view)]
    if not view.scaled:
        found.append(
            "Not every chip has results at full size: energies below are those of the tiny model, "
            "which leaves large arrays partly empty."
        )
    return found


def _unlike(view: View) -> list[str]:
    """Say what chips that stand side by side do not share, or share too much."""
    found = []
    nodes = sorted({number(d.row, "node_nm") for d in view.designs})
    if len(nodes) > 1:
        found.append(
            f"Chips of {nodes[0]:g} to {nodes[-1]:g} nm stand side by side: every one is costed "
            "at its own node, and nothing is scaled between them."
        )
    rows = [r for d in view.designs if (r := d.scale()) is not None]
    waits = [
        text(r, "critical_resource") == MEMORY
        and number(r, "critical_resource_utilisation") > SATURATED
        for r in rows
    ]
    if len(rows) > 1 and all(waits):
        found.append(
            "At full size every chip waits for its off-chip memory, which holds keys and values: "
            "tokens/s compares memories there, not tiles, and slow tokens leak for longer. The "
            "table without the limit of memory compares tiles."
        )
    return found


def _warnings_of_chips(view: View) -> list[str]:
    """Say every warning once, with the chips that it is about."""
    chips: dict[str, list[str]] = {}
    for design in view.designs:
        for warning in design.chip.warnings:
            chips.setdefault(warning, []).append(design.name)
    everywhere = len(view.designs) if len(view.designs) > 1 else 0
    return [
        f"{'all chips' if len(names) == everywhere else ', '.join(names)}: {warning}"
        for warning, names in chips.items()
    ]


def basis(view: View) -> list[tuple[str, str]]:
    """Return what the numbers mean: (subject, statement)."""
    return [
        (
            "Operations",
            "1 MAC = 2 operations. MACs count linear layers (active experts only, no padding) and "
            "2 x context x attention width per layer and token.",
        ),
        ("Precision", _precision(view)),
        (
            "Energy",
            "Counted actions times the energy of one, plus leakage times time. Energy per token "
            f"includes the chip, its digital units (attention, softmax, norms), the KV cache and "
            f"DRAM; {_io(view)} results.csv, scale.csv and energy.csv give off-chip energy apart.",
        ),
        ("Leakage", _leakage(view)),
        (
            "Efficiency",
            "TOPS/W and tokens/s are averages of the timed work, not peaks; peak power is the "
            "worst 1 us.",
        ),
        ("Area", "All on-chip components. Off-chip DRAM, package and pads are apart."),
        (
            "Accuracy",
            f"Perplexity of the tiny model on {view.run.text_name}, in windows without carry-over. "
            "The full-size shape is timed and charged, not scored: its routing is resampled from "
            "the chip's own trace.",
        ),
        (
            "Chips",
            "A chip seed draws the frozen errors of one manufactured chip. Intervals are 95 % "
            "Student t intervals of the mean over chip seeds; before and after are compared on "
            "the same chips.",
        ),
        (
            "Destroyed",
            "A unigram model of the calibration text (add-one smoothing over the vocabulary) has "
            f"perplexity {view.unigrams} on the scored text. A chip at or above it predicts no "
            "better than counting tokens does: it is called destroyed, and is in no finding, "
            "ranking or front.",
        ),
        ("ROMER", ROMER),
        ("Not modelled", _not_modelled(view)),
    ]


ROMER = (
    "The ROMER paper (arXiv 2605.11800) states up to 58.6 %, 58.8 % and 59.8 % lower perplexity "
    "for DeepSeek-MoE, Qwen-MoE and OLMoE under real-chip noise. Only these three figures are the "
    "paper's. The calibrator called romer here, and every number in this report, is our reading "
    "of ROMER on other models and chips."
)


def _precision(view: View) -> str:
    parts = []
    for label, designs in view.classes:
        adc = sorted({d.adc for d in designs})
        parts.append(f"{label} ({', '.join(adc)}): {', '.join(d.name for d in designs)}")
    note = " Figures at unequal bits are never ranked together." if len(parts) > 1 else ""
    return "; ".join(parts) + "." + note


def _io(view: View) -> str:
    """Say whose interface to the host is charged."""
    charged = [
        d.name for d in view.designs if any(text(r, "component") == "io" for r in d.chip.energy)
    ]
    if not charged:
        return "links between chips are included, the interface to the host is not modelled."
    if len(charged) == len(view.designs):
        return "links between chips and the interface to the host are included."
    return (
        f"links between chips are included, the interface to the host for {', '.join(charged)} "
        "and not modelled for others."
    )


def _leakage(view: View) -> str:
    shares = [optional(d.row, "leakage_coverage") or 0.0 for d in view.designs]
    low, high = min(shares), max(shares)
    share = percent(low, 0) if low == high else f"{percent(low, 0)} to {percent(high, 0)}"
    return (
        f"Modelled for {share} of the component kinds. For the others it is not modelled, and so "
        "missing from the totals, which are lower bounds in that respect."
    )


def _not_modelled(view: View) -> str:
    general = (
        "Host, package, power delivery and cooling; heating of the chip by its own power; the "
        "accuracy of the full-size model."
    )
    by_phrase: dict[str, list[str]] = {}
    for design in view.designs:
        for phrase in design.chip.not_modelled:
            by_phrase.setdefault(phrase, []).append(design.name)
    everywhere = [p for p, names in by_phrase.items() if len(names) == len(view.designs)]
    somewhere = [
        f"{phrase} ({', '.join(names)})"
        for phrase, names in by_phrase.items()
        if phrase not in everywhere
    ]
    listed = [*everywhere, *somewhere]
    return general + (f" Also: {'; '.join(listed)}." if listed else "")
