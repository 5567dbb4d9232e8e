"""The page of the study: what held, what did not, and what none of it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cimsim.model import text
from cimsim.stages.models import open_model, read_text
from romer.study.heldout import test_windows
from romer.study.plan import Plan
from romer.study.summary import Summary
from romer.study.verdicts import MODE_NATS, mode_differences, verdicts

__all__ = ["unigram_perplexity", "write_page"]

Row = dict[str, Any]

READING = """\
ROMER (arXiv 2605.11800) reports cuts in perplexity of up to 58.6 / 58.8 / 59.8 % for
DeepSeek-MoE / Qwen-MoE / OLMoE; these three figures are the paper's. Its equations are not
public in full: everything else called by its name here is our reading of ROMER, and a cut of
that size on this page is not the paper's figure. The reading behind the rows "romer": experts
that under noise get less than a tenth of the mean load become averaged second copies of the
busiest ones (E2), then each expert's logits get the median and quartile range that they have
without noise (R4). The other readings are rows of their own."""

LIMITS = """\
These are models of about 8 million parameters, trained by us on technical English, without
the outliers, the specialised experts and the depth of models of 7 to 16 billion. Absolute
thresholds of sigma, load imbalance and the share of digital work do not carry over. "Family"
means the structure of routing, not the released checkpoints. At level L the uncalibrated
model is unusable, and a cut there says how much is won back, not that the result is good.
Noise is the additive form of one chip family; the 80 C profile is assumed. Copies that are
averaged take crossbars that would idle; details.csv has the energy, the 99th percentile of
latency and the busiest tile of the first chip of primary cells, before and after. Program-verify
reads every weight exactly, which flatters it. Not modelled: the time and energy of calibration
passes themselves; a refit of the output head."""


def unigram_perplexity(model: str, tokens: int, context: int) -> float:
    """Return the perplexity of TEST text under calibration text's unigrams, plus one each.

    A model above this line has lost all context.
    """
    checkpoint = open_model(model)
    ids = checkpoint.tokenizer.encode(read_text(None).calibration, add_special_tokens=False).ids
    counts = np.bincount(ids, minlength=checkpoint.program.vocab_size)
    return text.unigram_perplexity(counts, test_windows(checkpoint, tokens, context))


def write_page(
    plan: Plan,
    summary: Summary,
    levels: Mapping[str, tuple[float, bool]],
    quantisers: Mapping[tuple[str, float | str], str],
    missing: Sequence[str],
    out: Path,
) -> None:
    """Write report.md and figures.

    Args:
        plan: what was done.
        summary: the tables.
        levels: level L of every model, and whether the factor was reached.
        quantisers: the best quantiser of (model, sigma).
        missing: extra models whose folders were not there.
        out: folder of the study.
    """
    # Matplotlib takes half a second to import: only the page pays for it.
    from romer.study.figures import (  # noqa: PLC0415
        draw_closures,
        draw_front,
        draw_treatments,
    )

    figures = out / "figures"
    draw_closures(summary.rows, figures / "closure.svg")
    draw_front(summary.rows, figures / "front.svg")
    draw_treatments(summary.rows, figures / "treatments.svg")
    parts = ["# What calibration wins back\n"]
    if plan.reduced:
        parts.append("A reduced version of the plan: few chips and little text; a smoke test.\n")
    parts.append(
        "## What was reproduced, and what was not\n\n" + _plainly(summary) + READING + "\n"
    )
    parts.append("## Hypotheses of the plan\n\n" + _list(verdicts(summary)))
    parts.append(_level_lines(plan, levels, quantisers))
    parts.append("## Against the best quantiser\n\n" + _quantisers(summary))
    parts.append("## In the form of the paper: perplexity\n\n" + _paper_table(summary.rows))
    for role, title in (
        ("primary", "Primary cells"),
        ("ablation", "One step at a time, bounds and baselines"),
        ("sensitivity", "One factor at a time"),
        ("transfer", "A correction of another chip"),
    ):
        if any(r["role"] == role for r in summary.rows):
            parts.append(f"## {title}\n\n" + _table(summary, role))
    if missing:
        parts.append(
            "Not measured, because their folders were not given: " + ", ".join(missing) + ".\n"
        )
    parts.append("## Detailed against folded\n\n" + _modes(summary))
    parts.append("## Steps kept\n\n" + _kept(summary))
    parts.append(
        "![Gap closure](figures/closure.svg)\n\n![Treatments of the default cell]"
        "(figures/treatments.svg)\n\n![Accuracy against digital work](figures/front.svg)\n"
    )
    parts.append("## Limits\n\n" + LIMITS + "\n")
    (out / "report.md").write_text("\n".join(parts), encoding="utf-8")


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _plainly(summary: Summary) -> str:
    """Say what the two methods gave at L, every matrix analog, in two sentences."""
    found = {}
    for name in ("romer", "romer_plus"):
        found[name] = [
            r
            for r in summary.rows
            if r["role"] == "primary"
            and r["calibrator"] == name
            and r["level_l"]
            and "attention" in r["analog_parts"]
        ]
    sentences = []
    for name, words in (
        ("romer", "The paper's two steps alone, in our reading, change"),
        ("romer_plus", "The combined method changes"),
    ):
        cuts = ", ".join(
            f"{r['model']} {-100 * r['reduction']:+.1f} % (p {r['p_value']:.2g})"
            for r in found[name]
        )
        sentences.append(
            f"{words} the mean noisy perplexity at level L by: {cuts or 'not measured'}."
        )
    romer = [r["reduction"] for r in found["romer"]]
    if romer and max(romer) < 0.5:
        sentences.append(
            "So a cut of the size that the paper reports was not reproduced with its two steps "
            "alone on these models."
        )
    return "\n".join(sentences) + "\n\n"


def _level_lines(
    plan: Plan,
    levels: Mapping[str, tuple[float, bool]],
    quantisers: Mapping[tuple[str, float | str], str],
) -> str:
    lines = []
    for model, (level, reached) in levels.items():
        note = "" if reached else f", the greatest tried: {plan['level_factor']} x not reached"
        line = unigram_perplexity(model, plan["test_tokens"], 256)
        best = ", ".join(f"{name} at {s}" for (m, s), name in quantisers.items() if m == model)
        lines.append(
            f"{model}: L = {level:g} LSB{note}; unigram perplexity {line:.0f}, above which a "
            f"model has lost all context; best quantiser {best}"
        )
    return "## Chosen on development chips and calibration text\n\n" + _list(lines)


def _paper_table(rows: Sequence[Row]) -> str:
    """Return one line a family and sigma, all analog: clean, noisy, our reading, combined."""
    cells: dict[tuple[str, float], dict[str, Row]] = {}
    for r in rows:
        if r["role"] == "primary" and "attention" in r["analog_parts"]:
            cells.setdefault((r["model"], r["sigma_lsb"]), {})[r["calibrator"]] = r
    lines = [
        "| model | sigma | clean | noisy | romer (our reading) | romer_plus |",
        "|---" * 6 + "|",
    ]
    for (model, sigma), found in cells.items():
        first = next(iter(found.values()))
        after = [
            f"{found[n]['ppl_calibrated']:.2f} ({-found[n]['reduction']:+.1%})"
            if n in found
            else "-"
            for n in ("romer", "romer_plus")
        ]
        level = " (L)" if first["level_l"] else ""
        lines.append(
            f"| {model} | {sigma:g}{level} | {first['ppl_clean']:.2f} | {first['ppl_noisy']:.2f} "
            f"| {after[0]} | {after[1]} |"
        )
    return "\n".join(lines) + "\n"


def _quantisers(summary: Summary) -> str:
    """Say, cell by cell, what better stored codes alone win back, and what is won on top."""
    lines = [
        "Errors are in LSB of the stored code, so a smaller LSB is less error: this baseline needs "
        "other codes in all cells and no calibration. Share of the gap closed, in nats; the last "
        "column is of the gap that the quantiser leaves.\n",
        "| model | analog | sigma | best quantiser alone | romer_plus alone | romer_plus on top |",
        "|---" * 6 + "|",
    ]
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for r in summary.rows:
        better = r["scale"] != "per_matrix"
        name = {
            ("primary", "romer_plus", False): "plus",
            ("ablation", "romer_plus", True): "top",
            ("ablation", "quantiser", True): "quantiser",
        }.get((r["role"], r["calibrator"], better))
        if name:
            place = (r["model"], r["analog_parts"], r["sigma_lsb"], r["level_l"])
            kept = found.setdefault(place, {})
            # The default cell has every quantiser: the best one is the one built upon.
            if (
                name != "quantiser"
                or name not in kept
                or r["nll_calibrated"] < kept[name]["nll_calibrated"]
            ):
                kept[name] = r
    for (model, analog, sigma, level), r in found.items():
        if len(r) == 3:
            closed = [f"{r[n]['gap_closure_nll']:.0%}" for n in ("quantiser", "plus", "top")]
            lines.append(
                f"| {model} | {analog} | {sigma:g}{' (L)' if level else ''} | {closed[0]} "
                f"({r['quantiser']['scale']}) | {closed[1]} | {closed[2]} |"
            )
    return "\n".join(lines) + "\n" if len(lines) > 3 else "Not measured.\n"


def _table(summary: Summary, role: str) -> str:
    lines = [
        "| model | analog | sigma | treatment | clean | integer, ADC only | noisy | after [95 %] | "
        "median, worst chip | cut [95 % over documents] | change of the loss, nats [95 %, paired] "
        "| closed (ppl) | closed (nats) | p "
        "| top-k | load TV | digital operations per token |",
        "|---" * 17 + "|",
    ]
    for r, d in zip(summary.rows, summary.details, strict=True):
        if r["role"] != role:
            continue
        adc = d["ppl_adc_only"]
        sigma = "own" if np.isnan(r["sigma_lsb"]) else f"{r['sigma_lsb']:g}"
        lines.append(
            f"| {r['model']} | {r['analog_parts']} | {sigma}{' (L)' if r['level_l'] else ''} "
            f"| {_treatment(r, d)} | {r['ppl_clean']:.2f} | {r['ppl_ideal_int']:.2f}, {adc:.2f} "
            f"| {r['ppl_noisy']:.2f} | {r['ppl_calibrated']:.2f} "
            f"[{r['ci_low']:.2f}, {r['ci_high']:.2f}] | {d['ppl_calibrated_median']:.2f}, "
            f"{d['ppl_calibrated_worst']:.2f} | {r['reduction']:.1%} "
            f"[{d['reduction_text_low']:.1%}, {d['reduction_text_high']:.1%}] "
            f"| {_change(d)} | {r['gap_closure_ppl']:.0%} | {r['gap_closure_nll']:.0%} "
            f"| {r['p_value']:.3g} "
            f"| {d['topk_agreement_noisy']:.3f} -> {d['topk_agreement_calibrated']:.3f} "
            f"| {r['load_tv_noisy']:.3f} -> {r['load_tv_calibrated']:.3f} "
            f"| {r['digital_ops_per_token']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _change(d: Row) -> str:
    """Return the change of the loss over the same chips, with its paired interval."""
    ends = f"{d['loss_change_ci_low']:+.4f}, {d['loss_change_ci_high']:+.4f}"
    return f"{d['loss_change_mean']:+.4f} [{ends}]"


def _treatment(r: Row, d: Row) -> str:
    """Return the calibrator and what sets the cell apart."""
    marks = [
        "" if r["guarded"] else "unguarded",
        d["compared"],
        f"{r['calibration_tokens']} tokens" if d["compared"] == "calibration size" else "",
        f"mismatch {r['noise_mismatch']:+.0%}" if r["noise_mismatch"] else "",
        "" if r["scale"] == "per_matrix" else r["scale"],
    ]
    found = ", ".join(m for m in marks if m)
    return f"{r['calibrator']} ({found})" if found else str(r["calibrator"])


def _modes(summary: Summary) -> str:
    found = mode_differences(summary.measured)
    if not found:
        return "Not measured.\n"
    lines = [
        f"{m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma:g}, {m.cell.calibrator}, "
        f"{len(m.cell.chips)} chips: "
        f"noisy {noisy:+.4f}, calibrated {after:+.4f} nats"
        for m, noisy, after in found
    ]
    worst = max(max(abs(a), abs(b)) for _, a, b in found)
    word = "within" if worst <= MODE_NATS else "not within"
    return (
        f"Detailed minus folded on the same chips, mean: {word} {MODE_NATS} nats (largest "
        f"{worst:.4f}).\n\n" + _list(lines)
    )


def _kept(summary: Summary) -> str:
    lines = []
    for m in summary.measured:
        kept = Counter(step for r in m.treated for step in r.get("kept", ()))
        if m.cell.role == "primary":
            steps = ", ".join(f"{step} on {n} of {len(m.treated)}" for step, n in kept.items())
            lines.append(
                f"{m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma:g}, "
                f"{m.cell.calibrator}: {steps or 'none'}"
            )
    return _list(lines) if lines else "None.\n"
