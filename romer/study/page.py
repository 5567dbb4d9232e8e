"""The page of the study: what held, what did not, and what none of it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cimsim.stages.models import open_model, read_text
from romer.study.figures import draw_closures, draw_front
from romer.study.heldout import test_windows
from romer.study.plan import BASELINES, Plan
from romer.study.summary import Measured, holm, one_sided_p

__all__ = ["unigram_perplexity", "write_page"]

Row = dict[str, Any]

ALPHA = 0.05
HARM_NATS = 0.005

LIMITS = """\
These are models of about 8 million parameters, trained by us on technical English, without
the outliers, the specialised experts and the depth of models of 7 to 16 billion. Absolute
thresholds of sigma, load imbalance and the share of digital work do not carry over. "Family"
means the structure of routing, not the released checkpoints. At level L the uncalibrated
model is unusable, and a cut there says how much is won back, not that the result is good.
Noise is the additive form of one chip family; the 80 C profile is assumed. Averaged copies
and offloaded parts take time and energy that this page does not show: `cimsim run` does.

ROMER (arXiv 2605.11800) reports cuts in perplexity of up to 58.6 / 58.8 / 59.8 % for
DeepSeek-MoE / Qwen-MoE / OLMoE; these three figures are the paper's. Its equations are not
public in full: everything else called by its name here is our reading of ROMER, and a cut of
that size on this page is not the paper's figure.

Not measured: program-verify of the worst cells at equal rewrites; a refit of the output
head; p99 latency after calibration (a run of `cimsim run` gives it)."""


def unigram_perplexity(model: str, tokens: int, context: int) -> float:
    """Return the perplexity of TEST text under calibration text's unigrams, plus one each.

    A model above this line has lost all context.
    """
    checkpoint = open_model(model)
    ids = checkpoint.tokenizer.encode(read_text(None).calibration, add_special_tokens=False).ids
    counts = np.bincount(ids, minlength=checkpoint.architecture.vocab_size) + 1.0
    windows = test_windows(checkpoint, tokens, context)
    return float(np.exp(-np.log(counts / counts.sum())[windows[:, 1:]].mean()))


def write_page(
    plan: Plan,
    rows: Sequence[Row],
    measured: Sequence[Measured],
    levels: dict[str, tuple[float, bool]],
    out: Path,
) -> None:
    """Write report.md and figures.

    Args:
        plan: what was done.
        rows: of summary.csv.
        measured: the same with every chip.
        levels: level L of every model, and whether the factor was reached.
        out: folder of the study.
    """
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    draw_closures(rows, figures / "closure.svg")
    draw_front(rows, figures / "front.svg")
    worst = {i: _chips(m) for i, m in enumerate(measured)}
    parts = ["# What calibration wins back\n"]
    if plan.reduced:
        parts.append("A reduced version of the plan: few chips and little text; a smoke test.\n")
    parts.append(_level_lines(plan, levels))
    parts.append("## Primary cells\n\n" + _table(rows, worst, "primary"))
    parts.append("## Hypotheses\n\n" + _verdicts(rows, measured))
    for role, title in (
        ("ablation", "One step at a time, bounds and baselines (default cell)"),
        ("sensitivity", "One factor at a time"),
        ("transfer", "A correction of another chip"),
    ):
        if any(r["role"] == role for r in rows):
            parts.append(f"## {title}\n\n" + _table(rows, worst, role))
    parts.append("## Steps kept\n\n" + _kept(measured))
    parts.append(
        "![Gap closure](figures/closure.svg)\n\n![Accuracy against digital work]"
        "(figures/front.svg)\n"
    )
    parts.append("## Limits\n\n" + LIMITS + "\n")
    (out / "report.md").write_text("\n".join(parts), encoding="utf-8")


def _level_lines(plan: Plan, levels: dict[str, tuple[float, bool]]) -> str:
    lines = []
    for model, (level, reached) in levels.items():
        note = "" if reached else f", the greatest tried: {plan['level_factor']} x not reached"
        line = unigram_perplexity(model, plan["test_tokens"], 256)
        lines.append(f"- {model}: L = {level:g} LSB{note}; unigram perplexity {line:.0f}")
    return "Level L and the line above which a model is destroyed:\n\n" + "\n".join(lines) + "\n"


def _chips(m: Measured) -> tuple[float, float]:
    """Return the median and the worst chip's calibrated perplexity."""
    after = np.exp(m.nll(treated=True))
    return float(np.median(after)), float(after.max())


def _table(rows: Sequence[Row], worst: dict[int, tuple[float, float]], role: str) -> str:
    lines = [
        "| model | analog | sigma | treatment | clean | integer | noisy | after [95 %] | median, "
        "worst chip | cut | closed (ppl) | closed (nats) | p | load TV | digital ops a token |",
        "|---" * 15 + "|",
    ]
    for i, r in enumerate(rows):
        if r["role"] != role:
            continue
        name = r["calibrator"] + ("" if r["guarded"] else " (unguarded)")
        marks = [
            f"{r['calibration_tokens']} tokens",
            r["tile_mode"],
            r["scale"],
            r["device_profile"],
            f"mismatch {r['noise_mismatch']:+.0%}" if r["noise_mismatch"] else "",
        ]
        if role == "sensitivity":
            name += " (" + ", ".join(m for m in marks if m) + ")"
        median, high = worst[i]
        lines.append(
            f"| {r['model']} | {r['analog_parts']} | {r['sigma_lsb']:g}"
            f"{' (L)' if r['level_l'] else ''} | {name} | {r['ppl_clean']:.2f} "
            f"| {r['ppl_ideal_int']:.2f} | {r['ppl_noisy']:.2f} | {r['ppl_calibrated']:.2f} "
            f"[{r['ci_low']:.2f}, {r['ci_high']:.2f}] | {median:.2f}, {high:.2f} "
            f"| {r['reduction']:.1%} | {r['gap_closure_ppl']:.0%} | {r['gap_closure_nll']:.0%} "
            f"| {r['p_value']:.3g} | {r['load_tv_noisy']:.3f} -> {r['load_tv_calibrated']:.3f} "
            f"| {r['digital_ops_per_token']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _verdicts(rows: Sequence[Row], measured: Sequence[Measured]) -> str:
    """Say of every hypothesis whether it held, cell by cell where it did not."""
    plus = [r for r in rows if r["role"] == "primary" and r["calibrator"] == "romer_plus"]
    whole = [r for r in plus if "attention" in r["analog_parts"]]
    part = [r for r in plus if "attention" not in r["analog_parts"]]
    tests: list[tuple[str, list[Row], list[bool]]] = []
    for name, group, key, bound in (
        ("H2, cut of 65 % at L", [r for r in whole if r["level_l"]], "reduction", 0.65),
        ("H3, 55 % closed, all analog", _below_l(whole), "gap_closure_ppl", 0.55),
        ("H3, 75 % closed, digital attention", _below_l(part), "gap_closure_ppl", 0.75),
    ):
        tests.append((name, group, [r[key] >= bound for r in group]))
    tests.insert(0, ("H1, lower loss", plus, [r["p_value"] < ALPHA for r in plus]))
    lines = []
    for name, group, held in tests:
        missed = [r for r, holds in zip(group, held, strict=True) if not holds]
        where = "; ".join(
            f"{r['model']} sigma {r['sigma_lsb']:g}: cut {r['reduction']:.1%}, closed "
            f"{r['gap_closure_ppl']:.0%}, p {r['p_value']:.2g}"
            for r in missed
        )
        word = f"missed in {len(missed)} of {len(group)} cells ({where})" if missed else "held"
        lines.append(f"- {name}: {word if group else 'not tested'}.")
    harm = _harmful(measured)
    lines.append(f"- H4, never harmful: {'missed: ' + '; '.join(harm) if harm else 'held'}.")
    return "\n".join(lines) + "\n"


def _harmful(measured: Sequence[Measured]) -> list[str]:
    """Name the guarded cells whose loss rises: significantly (Holm), or by over 0.005 nats."""
    cells = [m for m in measured if m.cell.guarded and m.cell.role != "transfer"]
    cells = [m for m in cells if m.cell.calibrator not in BASELINES]
    rises = [m.nll(treated=True) - m.nll(treated=False) for m in cells]
    p_values = holm([one_sided_p([float(v) for v in rise]) for rise in rises])
    return [
        f"{m.cell.calibrator} on {m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma:g}: "
        f"{rise.mean():+.4f} nats, p {p:.2g}"
        for m, rise, p in zip(cells, rises, p_values, strict=True)
        if p < ALPHA or rise.mean() > HARM_NATS
    ]


def _below_l(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if not r["level_l"]]


def _kept(measured: Sequence[Measured]) -> str:
    lines = []
    for m in measured:
        kept = Counter(step for r in m.treated for step in r.get("kept", ()))
        if kept and m.cell.role == "primary":
            steps = ", ".join(f"{step} on {n} of {len(m.treated)}" for step, n in kept.items())
            lines.append(
                f"- {m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma:g}, "
                f"{m.cell.calibrator}: {steps}"
            )
    return "\n".join(lines or ["None."]) + "\n"
