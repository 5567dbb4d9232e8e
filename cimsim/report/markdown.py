"""The report as markdown that reads well in a terminal of 80 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

from cimsim.report.canvas import Picture
from cimsim.report.cells import (
    duration,
    energy_unit,
    number,
    optional,
    percent,
    significant,
    text,
)
from cimsim.report.comparison import ALL_RESIDENT, PEAK_NOTE, peak_density, peak_warnings
from cimsim.report.content import FILES, Content
from cimsim.report.figures import Figures
from cimsim.report.view import SCALE_BATCH, Design, View, off_chip_share

__all__ = ["markdown_report"]

WIDTH = 80
NAME_WIDTH = 24


def markdown_report(view: View, content: Content, figures: Figures) -> str:
    """Return the report in short.

    Args:
        view: the run.
        content: what the page says.
        figures: figures in the run's folder.
    """
    lines = [f"# cimsim: {_plain(content.title)}", "", *_wrap(content.about), ""]
    lines += ["## Findings", "", *_bullets(content.findings), ""]
    if content.warnings:
        lines += ["**Mind:**", "", *_bullets(content.warnings), ""]
    lines += _image(figures.accuracy_energy)
    lines += ["## Accuracy", "", *_by_class(view, ACCURACY, _accuracy_row)]
    lines += [*_wrap(f"{UNIGRAMS}: {view.unigrams}. {MARK} at or above it: destroyed."), ""]
    lines += _image(figures.perplexity)
    if view.scaled:
        lines += _full_size(view, figures)
    lines += _peak(view)
    lines += ["## Tiny model: speed and energy", ""]
    lines += _wrap(
        "Decode at the largest batch; p50 and p99 in us, energy in nJ a token. Compare chips at "
        "full size, not here."
    )
    lines += ["", *_by_class(view, TINY, _tiny_row)]
    lines += _image(figures.energy_tiny)
    lines += ["## Chip by chip", ""]
    for chip, pictures in zip(content.chips, figures.chips, strict=True):
        lines += [f"### {chip.design.index}. {_plain(chip.design.name)}", ""]
        lines += [*_wrap(chip.about), "", *_chip_bullets(chip.design), ""]
        lines += [line for picture in pictures for line in _image(picture, caption=False)]
    lines += ["## What the numbers mean", ""]
    for subject, statement in content.basis:
        lines += _wrap(f"- **{subject}.** {_plain(statement)}", indent="  ", plain=False)
    lines += ["", "## Files", ""]
    for name, meaning in FILES:
        lines += _wrap(f"- `{name}`: {meaning}", indent="  ", plain=False)
    return "\n".join(lines).rstrip() + "\n"


MARK = "†"
UNIGRAMS = "Perplexity of a unigram model of the calibration text"
ACCURACY = ("#", "chip", "float", "on chip", "calibrated", "95 %", "clipped")
TINY = ("#", "chip", "p50", "p99", "tokens/s", "nJ", "TOPS/W", "mm²")


def _accuracy_row(design: Design) -> tuple[str, ...]:
    row = design.row
    low, high = (number(row, f"ppl_calibrated_ci_{end}") for end in ("low", "high"))
    interval = "none" if low == high else f"±{significant((high - low) / 2, 2)}"
    return (
        *_who(design),
        significant(number(row, "ppl_float"), 4),
        significant(number(row, "ppl_noisy_mean"), 4) + (MARK if design.destroyed_before else ""),
        significant(number(row, "ppl_calibrated_mean"), 4) + (MARK if design.destroyed else ""),
        "destroyed" if design.destroyed else interval,
        percent(optional(row, "adc_clip_rate"), 1),
    )


def _tiny_row(design: Design) -> tuple[str, ...]:
    row = design.row
    p99 = row["latency_p99_us"]
    return (
        *_who(design),
        significant(number(row, "latency_p50_us")),
        "n/a" if p99 is None else significant(number(row, "latency_p99_us")),
        significant(number(row, "tokens_per_s")),
        significant(number(row, "energy_per_token_nj")),
        significant(number(row, "tops_per_w")),
        significant(number(row, "area_mm2")),
    )


def _full_size(view: View, figures: Figures) -> list[str]:
    energies = [number(r, "energy_per_token_nj") for d in view.designs if (r := d.scale())]
    unit, size = energy_unit(energies)

    def cells(design: Design) -> tuple[str, ...]:
        row = design.scale()
        if row is None:
            return (*_who(design), *["n/a"] * 7)
        return (
            *_who(design),
            f"{number(row, 'dies'):,.0f}",
            significant(number(row, "area_mm2")),
            significant(number(row, "power_w")),
            significant(number(row, "tokens_per_s")),
            significant(number(row, "energy_per_token_nj") / size),
            percent(off_chip_share(row), 0),
            significant(number(row, "tops_per_w")),
        )

    header = ("#", "chip", "dies", "mm²", "W", "tokens/s", unit, "off", "TOPS/W")
    lines = ["## Full-size model", ""]
    row = view.designs[0].scale()
    shape = "" if row is None else f"{text(row, 'shape')}, context {number(row, 'context'):,.0f}, "
    lines += _wrap(
        f"{shape}decode, batch {SCALE_BATCH}; energy a token, and its share off the "
        "chip. Compare chips here." + (f" {ALL_RESIDENT}" if view.switches else "")
    )
    lines += ["", *_by_class(view, header, cells)]
    if figures.energy is not None:
        lines += _image(figures.energy)
    return lines


def _peak(view: View) -> list[str]:
    forms = {"as run": "run", "as published": "paper"}
    rows = [
        (
            *(_who(d) if first else ("", "")),
            forms[text(r, "form")],
            f"{number(r, 'weight_bits'):.0f}/{number(r, 'input_bits'):.0f}",
            f"{number(r, 'tiles'):,.0f}",
            significant(number(r, "peak_tops")),
            peak_density(r),
            significant(number(r, "peak_tops_per_w")),
            significant(number(r, "peak_total_w")),
        )
        for d in view.designs
        for first, r in ((i == 0, r) for i, r in enumerate(d.chip.peak))
    ]
    header = ("#", "chip", "as", "bits", "tiles", "TOPS", "density", "TOPS/W", "W")
    lines = ["## Peak: as run, and as published", "", *_wrap(PEAK_NOTE)]
    warnings = [line for w in peak_warnings(view) for line in (*_wrap(w), "")]
    return [*lines, "", *_table(header, rows), "", *warnings]


def _chip_bullets(design: Design) -> list[str]:
    row = design.row
    change = design.calibration_effect.difference
    sure = "" if design.calibration_effect.significant else ", not beyond chance"
    effect = f"Calibration changes perplexity by {change.mean:+.3g}{sure}"
    if text(row, "calibrator") == "identity":
        effect = "No calibration"
    if design.destroyed:
        effect += "; the chip is destroyed"
    tops = [
        f"{text(row, f'energy_top{i}_name')} {percent(number(row, f'energy_top{i}_share'), 0)}"
        for i in (1, 2, 3)
        if row[f"energy_top{i}_name"] is not None
    ]
    life = optional(row, "switch_lifetime_s")
    worn = [] if life is None else [f"Cells last {duration(life)} at this rate of switching."]
    hits = optional(row, "expert_hit_rate")
    if hits is not None:
        worn.insert(
            0,
            f"{significant(number(row, 'expert_switches_per_token'))} expert switches a token, "
            f"{significant(number(row, 'expert_switch_bytes_per_s') / 1e9)} GB/s of weights; "
            f"{percent(hits, 0)} of expert visits find their expert resident (Belady's optimum: "
            f"{percent(optional(row, 'expert_hit_rate_bound'), 0)}). The visits of a token wait "
            f"{significant(number(row, 'expert_switch_stall_per_token_us'))} us for experts, "
            "summed: they wait side by side.",
        )
    notes = [f"{'; '.join(design.chip.notes)}."] if design.chip.notes else []
    return _bullets(
        [
            f"{effect}; top-k agreement "
            f"{percent(number(row, 'topk_agreement'))} to "
            f"{percent(number(row, 'topk_agreement_calibrated'))}; expert load CV "
            f"{significant(number(row, 'expert_load_cv'))} to "
            f"{significant(number(row, 'expert_load_cv_calibrated'))} "
            f"({significant(number(row, 'expert_load_cv_clean'))} in float).",
            f"Energy goes to {', '.join(tops)}. Critical resource: "
            f"{text(row, 'critical_resource')}, busy "
            f"{percent(number(row, 'critical_resource_utilisation'), 0)} of the time.",
            *worn,
            *notes,
        ]
    )


def _who(design: Design) -> tuple[str, str]:
    name = design.name
    if len(name) > NAME_WIDTH:
        name = f"{name[: NAME_WIDTH - 1]}…"
    return str(design.index), name


def _by_class(
    view: View, header: Sequence[str], cells: Callable[[Design], tuple[str, ...]]
) -> list[str]:
    lines: list[str] = []
    for label, designs in view.classes:
        if len(view.classes) > 1:
            lines += [f"**{_plain(label)}**", ""]
        lines += [*_table(header, [cells(d) for d in designs]), ""]
    return lines


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table with aligned columns; the first two hold words."""
    table = [[_cell(c) for c in header], *([_cell(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * w) if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return [line(table[0]), line(rule), *(line(row) for row in table[1:])]


def _cell(value: str) -> str:
    return _plain(value).replace("|", "\\|")


def _plain(value: str) -> str:
    """Return text on one line whose marks mean nothing to markdown or HTML."""
    flat = re.sub(r"[ \t\r\n\f\v]+", " ", value)
    return re.sub(r"([`*<>\[\]\\])", r"\\\1", flat)


def _wrap(value: str, indent: str = "", *, plain: bool = True) -> list[str]:
    return textwrap.wrap(
        _plain(value) if plain else value,
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bullets(sentences: Iterable[str]) -> list[str]:
    return [line for s in sentences for line in _wrap(f"- {_plain(s)}", indent="  ", plain=False)]


def _image(picture: Picture, *, caption: bool = True) -> list[str]:
    lines = [f"![{_plain(picture.title)}](figures/{picture.name}.svg)", ""]
    return [*lines, *_wrap(picture.caption), ""] if caption else lines
