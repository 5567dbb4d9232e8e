"""Where the energy goes: stacked bars of component families, absolute and in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from cimsim.report.canvas import GREY, PALETTE, Picture, drawing, hover, picture, short
from cimsim.report.cells import energy_unit, number, optional, text
from cimsim.report.view import Design, View
from cimsim.results import COMPONENTS, family_of, reported_component
from cimsim.results.components import FAMILIES

__all__ = ["energy_breakdown"]

LEAKS = "leakage: "
LEAKING = tuple(f"{LEAKS}{family}" for family in (*FAMILIES, "other"))
HATCH = "////"


def energy_breakdown(view: View, *, scaled: bool) -> Picture:
    """Draw energy per token by component family for every chip.

    Args:
        view: the run.
        scaled: the full-size shape (scale.csv) instead of the tiny model (energy.csv).
    """
    parts = [_scale_parts(d) if scaled else _tiny_parts(d) for d in view.designs]
    totals = [sum(p.values()) for p in parts]
    unit, size = energy_unit(totals)
    shown = [f for f in (*FAMILIES, *LEAKING) if any(p.get(f, 0.0) > 0 for p in parts)]
    with drawing(9.2, 1.75 + 0.34 * len(parts)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1.0))
        for axes, share in ((left, False), (right, True)):
            for i, (design, part) in enumerate(zip(view.designs, parts, strict=True)):
                scale = sum(part.values()) / 100 if share else size
                _stack(axes, i, design.name, part, shown, scale)
        _name_chips(left, view.designs)
        for i, total in enumerate(totals):
            left.annotate(
                f"{total / size:.3g}",
                (total / size, i),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        left.set_xlim(0, max(totals) / size * 1.14)
        left.set_xlabel(f"energy per token ({unit})")
        right.set_xlabel("share (%)")
        right.set_xlim(0, 100)
        handles = {f: Patch(color=_colour(f)) for f in shown if f not in LEAKING}
        if any(f in LEAKING for f in shown):
            handles["leakage of these"] = Patch(fc="white", ec=GREY, hatch=HATCH)
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=5)
        what = "full-size model, decode, batch 32" if scaled else "tiny model, decode"
        source = "scale.csv" if scaled else "energy.csv"
        stage = "" if scaled else ", after calibration"
        caption = (
            f"Energy per token by family of components{stage}, absolute and as a share, with the "
            "leakage that is modelled and off-chip memory. "
            "Hatched: leakage, in the colour of what leaks. "
            f"Numbers: {source}."
        )
        name = "energy_breakdown" if scaled else "energy_breakdown_tiny"
        alt = _alt(view.designs, parts, totals, unit, size)
        return picture(figure, name, f"Energy by component: {what}", caption, alt)


def _scale_parts(design: Design) -> dict[str, float]:
    row = design.scale()
    parts: dict[str, float] = {}
    if row is None:
        return parts
    families = {c.name: family_of(c.name) for c in COMPONENTS} | {"other": "other"}
    leaks = (name for name in row if name.startswith("energy_leakage_"))
    for column in (c for c in leaks if c != "energy_leakage_nj"):
        component = column.removeprefix("energy_").removesuffix("_nj")
        families[component] = f"{LEAKS}{family_of(component.removeprefix('leakage_'))}"
    for component, family in families.items():
        energy = optional(row, f"energy_{component}_nj")
        if energy:
            parts[family] = parts.get(family, 0.0) + energy
    return parts


def _tiny_parts(design: Design) -> dict[str, float]:
    """Sum energy.csv by family; leakage stays with the family of what leaks."""
    phase = f"decode_b{number(design.row, 'latency_batch'):.0f}"
    parts: dict[str, float] = {}
    for row in design.chip.energy:
        if text(row, "phase") == phase and row["calibrated"] is True:
            component, kind = text(row, "component"), text(row, "kind")
            family = family_of(reported_component(component, kind))
            if kind == "leakage":
                family = f"{LEAKS}{family_of(component.removeprefix('leakage_'))}"
            parts[family] = parts.get(family, 0.0) + (optional(row, "energy_per_token_nj") or 0.0)
    return parts


def _colour(family: str) -> str:
    name = family.removeprefix(LEAKS)
    return PALETTE[FAMILIES.index(name)] if name in FAMILIES else GREY


def _stack(
    axes: Axes,
    at: int,
    name: str,
    part: Mapping[str, float],
    families: Sequence[str],
    scale: float,
) -> None:
    """Draw one bar; `scale` is the energy, in nJ, of one on its axis."""
    total = sum(part.values())
    start = 0.0
    for family in families:
        energy = part.get(family, 0.0)
        width = energy / scale if scale else 0.0
        hatch = HATCH if family in LEAKING else None
        bars = axes.barh(
            at, width, left=start, height=0.7, color=_colour(family), ec="white", lw=0.4,
            hatch=hatch,
        )  # fmt: skip
        hover(bars[0], f"{name}: {family} {energy:.4g} nJ ({100 * energy / (total or 1):.1f} %)")
        start += width
    axes.grid(visible=False, axis="y")


def _name_chips(axes: Axes, designs: Sequence[Design]) -> None:
    axes.set_yticks(range(len(designs)), [f"{short(d.name)}  {d.index}" for d in designs])
    axes.set_ylim(len(designs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _alt(
    designs: Sequence[Design],
    parts: Sequence[Mapping[str, float]],
    totals: Sequence[float],
    unit: str,
    size: float,
) -> str:
    listed = []
    for design, part, total in zip(designs, parts, totals, strict=True):
        top = sorted(part, key=lambda f: (-part[f], f))[:2]
        shares = " and ".join(f"{f} {100 * part[f] / total:.0f} %" for f in top)
        listed.append(f"{short(design.name, 40)} {total / size:.3g} {unit}, mostly {shares}")
    return f"Stacked bars of energy per token. {'; '.join(listed)}."
