"""The report of the study: what held, what did not, and what none of it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cimsim.model import text
from cimsim.report.blocks import Block, Bullets, Illustration, ReportSection, Text
from cimsim.report.canvas import Picture
from cimsim.report.markdown import markdown_report
from cimsim.stages.models import open_model, read_text
from cimsim.text_file import write_whole
from romer.study.heldout import test_windows
from romer.study.plan import StudyPlan
from romer.study.summary import StudySummary
from romer.study.tables import cell_grid, paper_grid, quantiser_blocks
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
    plan: StudyPlan,
    summary: StudySummary,
    levels: Mapping[str, tuple[float, bool]],
    quantisers: Mapping[tuple[str, float | str], str],
    missing: Sequence[str],
    out: Path,
) -> None:
    """Write report.md, report.html and figures.

    Args:
        plan: what was done.
        summary: the tables.
        levels: level L of every model, and whether the factor was reached.
        quantisers: the best quantiser of (model, sigma).
        missing: extra models whose folders were not there.
        out: folder of the study.
    """
    # Matplotlib and Jinja take half a second to import: only the report pays for them.
    from cimsim.report.page import html_page  # noqa: PLC0415
    from romer.study.figures import study_figures  # noqa: PLC0415

    pictures = study_figures(summary.rows)
    for picture in pictures:
        write_whole(out / "figures" / f"{picture.name}.svg", picture.svg)
    about = "Calibration of noisy mixture-of-experts models, after the registered plan."
    if plan.reduced:
        about = "A reduced version of the plan: few chips and little text; a smoke test."
    chosen = _levels(plan, levels, quantisers)
    told = "What calibration wins back", about, _sections(summary, chosen, missing, pictures)
    write_whole(out / "report.md", markdown_report(*told, fit=False).encode("utf-8"))
    write_whole(out / "report.html", html_page(*told).encode("utf-8"))


def _sections(
    summary: StudySummary,
    chosen: Sequence[str],
    missing: Sequence[str],
    pictures: Sequence[Picture],
) -> tuple[ReportSection, ...]:
    """Return the report; `chosen` are the levels and quantisers that were taken."""
    roles = [
        ReportSection(role, title, (cell_grid(title, summary, role),))
        for role, title in (
            ("primary", "Primary cells"),
            ("ablation", "One step at a time, bounds and baselines"),
            ("sensitivity", "One factor at a time"),
            ("transfer", "A correction of another chip"),
        )
        if any(r["role"] == role for r in summary.rows)
    ]
    if missing:
        left = "Not measured, because their folders were not given: " + ", ".join(missing) + "."
        roles.append(ReportSection("missing", "Not measured", (Text(left),)))
    return (
        ReportSection(
            "reproduced",
            "What was reproduced, and what was not",
            (*map(Text, _plainly(summary)), Text(READING)),
        ),
        ReportSection("hypotheses", "Hypotheses of the plan", (Bullets(tuple(verdicts(summary))),)),
        ReportSection(
            "chosen", "Chosen on development chips and calibration text", (Bullets(tuple(chosen)),)
        ),
        ReportSection("quantiser", "Against the best quantiser", quantiser_blocks(summary)),
        ReportSection("paper", "In the form of the paper: perplexity", (paper_grid(summary.rows),)),
        *roles,
        ReportSection("modes", "Detailed against folded", _modes(summary)),
        ReportSection("kept", "Steps kept", (Bullets(_kept(summary) or ("None.",)),)),
        ReportSection("figures", "Figures", tuple(Illustration(p, brief=True) for p in pictures)),
        ReportSection("limits", "Limits", (Text(LIMITS),)),
    )


def _plainly(summary: StudySummary) -> list[str]:
    """Say what the two methods gave at L, every matrix analog, in a sentence each."""
    found = {
        name: [
            r
            for r in summary.rows
            if r["role"] == "primary"
            and r["calibrator"] == name
            and r["level_l"]
            and "attention" in r["analog_parts"]
        ]
        for name in ("romer", "romer_plus")
    }
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
    return sentences


def _levels(
    plan: StudyPlan,
    levels: Mapping[str, tuple[float, bool]],
    quantisers: Mapping[tuple[str, float | str], str],
) -> list[str]:
    lines = []
    for model, (level, reached) in levels.items():
        note = "" if reached else f", the greatest tried: {plan['level_factor']} x not reached"
        line = unigram_perplexity(model, plan["test_tokens"], 256)
        best = ", ".join(f"{name} at {s}" for (m, s), name in quantisers.items() if m == model)
        lines.append(
            f"{model}: L = {level:g} LSB{note}; unigram perplexity {line:.0f}, above which a "
            f"model has lost all context; best quantiser {best}"
        )
    return lines


def _modes(summary: StudySummary) -> tuple[Block, ...]:
    found = mode_differences(summary.measured)
    if not found:
        return (Text("Not measured."),)
    lines = tuple(
        f"{m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma:g}, {m.cell.calibrator}, "
        f"{len(m.cell.chips)} chips: "
        f"noisy {noisy:+.4f}, calibrated {after:+.4f} nats"
        for m, noisy, after in found
    )
    worst = max(max(abs(a), abs(b)) for _, a, b in found)
    word = "within" if worst <= MODE_NATS else "not within"
    said = (
        f"Detailed minus folded on the same chips, mean: {word} {MODE_NATS} nats (largest "
        f"{worst:.4f})."
    )
    return Text(said), Bullets(lines)


def _kept(summary: StudySummary) -> tuple[str, ...]:
    lines = []
    for m in summary.measured:
        kept = Counter(step for r in m.treated for step in r.get("kept", ()))
        if m.cell.role == "primary":
            steps = ", ".join(f"{step} on {n} of {len(m.treated)}" for step, n in kept.items())
            lines.append(
                f"{m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma:g}, "
                f"{m.cell.calibrator}: {steps or 'none'}"
            )
    return tuple(lines)
