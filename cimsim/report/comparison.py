"""Tables that compare the chips of a run, grouped by the precision of a product."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.report.cells import (
    EMPTY,
    energy_unit,
    number,
    optional,
    percent,
    significant,
    text,
)
from cimsim.report.grid import Grid, GridGroup
from cimsim.report.grouping import by_precision
from cimsim.report.view import Design, View, off_chip_share
from cimsim.results import Row

__all__ = [
    "ALL_RESIDENT",
    "PEAK_NOTE",
    "accuracy_grid",
    "cost_grid",
    "peak_density",
    "peak_grid",
    "peak_warnings",
    "scale_grid",
    "speed_grid",
]


PEAK_NOTE = (
    "Every crossbar full and busy, 1 MAC = 2 operations at the bits of the row, power with the "
    "modelled leakage. As run: the tiles that hold the model, at the bits of the run; it is "
    "scaled to that number of tiles and not the published chip. As published: the tile count, "
    "bits and powers of the publication, which cimsim published checks. Density: mean input over "
    "the greatest / mean conductance over the greatest, at which energy is charged."
)

ALL_RESIDENT = "Every chip holds all experts here: none is switched."


def _interval(design: Design, stage: str) -> str:
    mean = number(design.row, f"ppl_{stage}_mean")
    low, high = (number(design.row, f"ppl_{stage}_ci_{end}") for end in ("low", "high"))
    text_mean = significant(mean, 4)
    if design.destroyed_before if stage == "noisy" else design.destroyed:
        return f"{text_mean}, destroyed"
    if low == high:
        return text_mean
    return f"{text_mean} [{significant(low, 4)}, {significant(high, 4)}]"


def accuracy_grid(view: View) -> Grid:
    """Who is compared, and how well the model does on each chip."""

    def cells(design: Design) -> tuple[str, ...]:
        row = design.row
        return (
            str(design.index),
            design.name,
            design.technology,
            design.converter,
            design.crossbar,
            significant(number(row, "ppl_float"), 4),
            significant(number(row, "ppl_ideal_int"), 4),
            _interval(design, "noisy"),
            _interval(design, "calibrated"),
            _loss_change(view, design),
            percent(optional(row, "adc_clip_rate"), 2),
        )

    return Grid(
        "Perplexity and clipping",
        (
            "#",
            "chip",
            "cells",
            "converter",
            "crossbar",
            "perplexity, float",
            "exact integers",
            "on the chip [95\u00a0%]",
            "calibrated [95\u00a0%]",
            "loss change [95\u00a0%]",
            "clipped",
        ),
        by_precision(view, cells),
        words=4,
        note=f"{view.seeds} chip seed{'s' if view.seeds != 1 else ''}; "
        + ("intervals over chip seeds." if view.seeds > 1 else "one seed gives no interval.")
        + f" Destroyed: at or above the perplexity of unigrams, {view.unigrams}."
        " Loss change: nat per token after calibration, less that of the first chip with the "
        "model, in pairs of chip seeds (pairs.csv).",
    )


def _loss_change(view: View, design: Design) -> str:
    pair = view.pairs.get((design.name, text(design.row, "model")))
    found = None if pair is None else optional(pair, "loss_change_calibrated_mean")
    if pair is None or found is None:
        return EMPTY
    low, high = (number(pair, f"loss_change_calibrated_ci_{end}") for end in ("low", "high"))
    return f"{found:+.3g}" if low == high else f"{found:+.3g} [{low:+.3g}, {high:+.3g}]"


def scale_grid(view: View) -> Grid:
    """Every chip's tile at the full-size shape: all phases of scale.csv."""
    energies = [number(r, "energy_per_token_nj") for d in view.designs for r in d.chip.scale]
    unit, size = energy_unit(energies)

    def rows(designs: Sequence[Design]) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (
                str(d.index) if first else "",
                d.name if first else "",
                f"{text(r, 'phase')}, {number(r, 'context'):,.0f}",
                f"{number(r, 'batch'):.0f}",
                f"{number(r, 'dies'):,.0f}",
                significant(number(r, "area_mm2")),
                significant(number(r, "power_w")),
                significant(number(r, "tokens_per_s")),
                significant(number(r, "latency_us")),
                significant(number(r, "energy_per_token_nj") / size),
                percent(off_chip_share(r), 0),
                significant(number(r, "tops_per_w")),
                f"{text(r, 'critical_resource')}, "
                f"{percent(number(r, 'critical_resource_utilisation'), 0)}",
            )
            for d in designs
            for first, r in ((i == 0, r) for i, r in enumerate(d.chip.scale))
        )

    shapes = sorted({text(r, "shape") for d in view.designs for r in d.chip.scale})
    several = len(view.classes) > 1
    return Grid(
        f"Full-size model ({', '.join(shapes)})",
        (
            "#",
            "chip",
            "phase, context",
            "batch",
            "dies",
            "mm²",
            "W",
            "tokens/s",
            "latency us",
            f"{unit}/token",
            "off chip",
            "TOPS/W",
            "critical resource",
        ),
        tuple(
            GridGroup(label if several else "", rows(designs)) for label, designs in view.classes
        ),
        words=3,
        last_words=True,
        note="Latency: a decoded token, or a whole window in prefill. Off chip: share of the "
        "energy in DRAM and chip I/O. TOPS/W at the bits of the group; 1 MAC = 2 operations."
        + (f" {ALL_RESIDENT}" if view.switches else ""),
    )


def speed_grid(view: View) -> Grid:
    """Speed of the tiny model in all phases."""
    batches = view.run.batches

    def cells(design: Design) -> tuple[str, ...]:
        row = design.row
        decode: list[str] = []
        for b in batches:
            p50, p99 = (optional(row, f"tpot_p{p}_us_b{b}") for p in (50, 99))
            decode += [
                f"{significant(p50)} / {significant(p99)}",
                significant(optional(row, f"decode_tokens_per_s_b{b}")),
            ]
        return (
            str(design.index),
            design.name,
            significant(number(row, "prefill_tokens_per_s")),
            significant(number(row, "ttft_p50_us")),
            *decode,
            significant(number(row, "tokens_per_s_per_mm2")),
            f"{text(row, 'critical_resource')}, "
            f"{percent(number(row, 'critical_resource_utilisation'), 0)}",
        )

    decode_header = [
        h for b in batches for h in (f"batch {b}: p50 / p99 us", f"batch {b}: tokens/s")
    ]
    return Grid(
        "Speed (tiny model)",
        (
            "#",
            "chip",
            "prefill tokens/s",
            "first token us",
            *decode_header,
            "tokens/s/mm²",
            "critical resource",
        ),
        by_precision(view, cells),
        last_words=True,
        note=f"{EMPTY}: fewer than 100 samples, or a batch size that the chip does not run.",
    )


def cost_grid(view: View) -> Grid:
    """Energy, power and area of the tiny model."""

    def cells(design: Design) -> tuple[str, ...]:
        row = design.row
        parts = " + ".join(
            significant(number(row, f"energy_{part}_per_token_nj"))
            for part in ("dynamic", "leakage", "off_chip")
        )
        top = text(row, "energy_top1_name")
        return (
            str(design.index),
            design.name,
            significant(number(row, "energy_per_token_nj"), 4),
            parts,
            f"{top} {percent(number(row, 'energy_top1_share'), 0)}",
            significant(number(row, "tops_per_w")),
            f"{significant(number(row, 'avg_power_w'))} / "
            f"{significant(number(row, 'peak_power_w'))}",
            significant(number(row, "area_mm2")),
            percent(optional(row, "cell_utilisation"), 0),
        )

    return Grid(
        "Energy and area (tiny model)",
        (
            "#",
            "chip",
            "nJ/token",
            "chip + leakage + off-chip",
            "largest part",
            "TOPS/W",
            "W mean / peak",
            "mm²",
            "cells used",
        ),
        by_precision(view, cells),
        note="Decode at the largest batch, before calibration. A tiny model leaves large arrays "
        "partly empty: compare chips by the full-size table.",
    )


def peak_density(row: Row) -> str:
    """Return the densities of a row of peak.csv; "any" where energy does not depend on them."""
    if optional(row, "input_bit_density") is None:
        return "any"
    return f"{number(row, 'input_bit_density'):.2f}/{number(row, 'mean_level_fraction'):.2f}"


def peak_warnings(view: View) -> tuple[str, ...]:
    """Return a sentence for every form whose peak air does not cool."""
    return tuple(
        f"{d.name} ({text(r, 'form')}): {significant(number(r, 'peak_total_w'))} W are "
        f"{significant(number(r, 'peak_w_per_mm2'))} W/mm²; cooling that takes it: "
        f"{text(r, 'peak_cooling')}. It cannot hold this peak in air."
        for d in view.designs
        for r in d.chip.peak
        if r["peak_cooling"] != "air"
    )


def peak_grid(view: View) -> Grid:
    """What every chip could do at most: its tiles as run, and the published chip."""
    rows = tuple(
        (
            str(d.index) if first else "",
            d.name if first else "",
            f"{text(r, 'form')} ({text(r, 'preset')})",
            f"{number(r, 'weight_bits'):.0f} / {number(r, 'input_bits'):.0f}",
            f"{number(r, 'tiles'):,.0f}",
            f"{peak_density(r)}, {text(r, 'density_origin')}",
            significant(number(r, "peak_tops")),
            significant(number(r, "peak_tops_per_w")),
            significant(number(r, "peak_tops_per_mm2")),
            significant(number(r, "peak_total_w")),
            significant(number(r, "peak_off_chip_w")),
            significant(number(r, "peak_area_mm2")),
            significant(number(r, "peak_w_per_mm2")),
            text(r, "excluded"),
        )
        for d in view.designs
        for first, r in ((i == 0, r) for i, r in enumerate(d.chip.peak))
    )
    return Grid(
        "Peak: as run, and as published",
        (
            "#",
            "chip",
            "form",
            "weight / input bits",
            "tiles",
            "density",
            "TOPS",
            "TOPS/W",
            "TOPS/mm²",
            "W",
            "off chip W",
            "mm²",
            "W/mm²",
            "not included",
        ),
        (GridGroup("", rows),),
        words=3,
        last_words=True,
        note=" ".join((PEAK_NOTE, *peak_warnings(view))),
    )
