"""Tables of speed, energy and area: of the tiny model, at full size, and at peak."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.report.accuracy_tables import WHO
from cimsim.report.blocks import Field, Grid
from cimsim.report.cells import (
    EMPTY,
    duration,
    energy_unit,
    number,
    optional,
    percent,
    significant,
    text,
    time_unit,
    whole,
)
from cimsim.report.view import SCALE_BATCH, SCALE_PHASE, Design, View, off_chip_share
from cimsim.results import Row
from cimsim.results.scale_rows import FREE_MEMORY

__all__ = ["cost_grid", "peak_grid", "peak_warnings", "scale_grids", "speed_grid", "switching_grid"]

OfRow = tuple[Design, Row]
"""A chip and one of its rows of scale.csv or peak.csv."""
WHO_ROW: tuple[Field[OfRow], ...] = (
    Field("#", lambda r: str(r[0].index), "#"),
    Field("chip", lambda r: r[0].name, "chip", words=True),
)


def _figure(title: str, column: str, narrow: str = "", digits: int = 3) -> Field[Design]:
    """Show a number of results.csv."""
    return Field(title, lambda d: significant(optional(d.row, column), digits), narrow)


def _time(designs: Sequence[Design], title: str, column: str, narrow: str = "") -> Field[Design]:
    """Show a time of results.csv, in microseconds there, in the unit that fits all chips."""
    unit, size = time_unit(v for d in designs if (v := optional(d.row, column)) is not None)

    def show(design: Design) -> str:
        value = optional(design.row, column)
        return significant(None if value is None else value / size)

    return Field(f"{title} {unit}", show, f"{narrow} {unit}" if narrow else "")


def _of_row(title: str, column: str, narrow: str = "") -> Field[OfRow]:
    """Show a number of another table."""
    return Field(title, lambda r: significant(optional(r[1], column)), narrow)


def _critical(row: Row) -> str:
    busy = percent(number(row, "critical_resource_utilisation"), 0)
    return f"{text(row, 'critical_resource')}, {busy}"


def scale_grids(view: View) -> tuple[Grid, ...]:
    """Every chip's tile at the full-size shape: a table per phase, that of comparisons first."""
    rows = [(d, r) for d in view.designs for r in d.chip.scale]
    unit, size = energy_unit(number(r, "energy_per_token_nj") for _, r in rows)
    compared = (SCALE_PHASE, float(SCALE_BATCH))
    phases = dict.fromkeys((text(r, "phase"), number(r, "batch")) for _, r in rows)
    return tuple(
        _scale_grid(view, phase, unit, size, page_only=phase != compared)
        for phase in sorted(phases, key=lambda phase: phase != compared)
    )


def _scale_grid(
    view: View, of: tuple[str, float], unit: str, size: float, *, page_only: bool
) -> Grid:
    groups = [
        (label, [(d, r) for d in designs if (r := d.scale(of[0], int(of[1]))) is not None])
        for label, designs in view.groups
    ]
    rows = [r for _, found in groups for _, r in found]
    shapes = ", ".join(sorted({text(r, "shape") for r in rows}))
    context = f"{number(rows[0], 'context'):,.0f}"
    window = "the window" if of[0] == "prefill" else "a decoded token, mean and 95 % interval"
    clock, tick = time_unit(number(r, "latency_us") for r in rows)
    resident = f" {ALL_RESIDENT}" if view.switches else ""
    free = FREE if of[0] == FREE_MEMORY else ""
    note = (
        f"95 %: of draws of cost constants. Time: of {window}. Off chip: share of the energy in "
        "DRAM and chip I/O. TOPS/W at the bits of the row; 1 MAC = 2 operations."
        f"{resident}{free}"
    )
    fields: list[Field[OfRow]] = [
        *WHO_ROW,
        Field("dies", lambda r: f"{number(r[1], 'dies'):,.0f}", "dies"),
        _of_row("mm²", "area_mm2", "mm²"),
        _ends("mm² 95 %", "area", "mm2", 1.0),
        _of_row("W", "power_w", "W"),
        _of_row("tokens per s", "tokens_per_s", "token/s"),
        Field(
            f"{clock} per {'window' if of[0] == 'prefill' else 'token'}",
            lambda r: significant(number(r[1], "latency_us") / tick),
        ),
        Field(
            f"{unit} per token",
            lambda r: significant(number(r[1], "energy_per_token_nj") / size),
            unit,
        ),
        _ends("energy 95 %", "energy_per_token", "nj", size),
        Field("off chip", lambda r: percent(off_chip_share(r[1]), 0), "off"),
        _of_row("TOPS/W", "tops_per_w", "TOPS/W"),
        Field("critical resource", lambda r: _critical(r[1]), words=True),
    ]
    if of[0] != "prefill":
        fields.insert(-5, Field(f"± {clock}", lambda r: significant(_error(r[1], tick), 2)))
    phase = "decode without the limit of memory" if free else of[0]
    title = f"Full-size model ({shapes}): {phase}, context {context}, batch {of[1]:.0f}"
    return Grid.of(title, fields, groups, note, page_only=page_only)


def _ends(title: str, name: str, unit: str, size: float) -> Field[OfRow]:
    """Show the interval of a figure over draws of the cost model's constants."""

    def show(of: OfRow) -> str:
        low, high = (number(of[1], f"{name}_{end}_{unit}") / size for end in ("low", "high"))
        return f"{significant(low)} to {significant(high)}"

    return Field(title, show)


def _error(row: Row, tick: float) -> float | None:
    error = optional(row, "latency_error_us")
    return None if error is None else error / tick


FREE = (
    " Off-chip memory transfers in no time here, its latency and energy stay: what tiles, digital "
    "units and network would do."
)
ALL_RESIDENT = "Every chip holds all experts here: none is switched."


def speed_grid(view: View) -> Grid:
    """Speed of the tiny model in all phases; markdown shows decode at the largest batch."""
    decode: list[Field[Design]] = []
    for b in view.run.batches:
        last = b == view.run.batches[-1]
        for title, column in (
            ("p50", f"tpot_p50_us_b{b}"),
            ("p99", f"tpot_p99_us_b{b}"),
        ):
            name = title if last else ""
            decode.append(_time(view.designs, f"batch {b}: {title}", column, name))
        title, column = "tokens per s", f"decode_tokens_per_s_b{b}"
        decode.append(_figure(f"batch {b}: {title}", column, title if last else ""))
    return Grid.of(
        "Speed (tiny model)",
        (
            *WHO,
            _figure("prefill tokens per s", "prefill_tokens_per_s"),
            _time(view.designs, "first token", "ttft_p50_us"),
            *decode,
            _figure("tokens per s and mm²", "tokens_per_s_per_mm2"),
            Field("critical resource", lambda d: _critical(d.row), words=True),
        ),
        view.groups,
        f"p50 and p99: time per token in decode. {EMPTY}: fewer than 100 samples, or a batch size "
        "that the chip does not run.",
    )


def cost_grid(view: View) -> Grid:
    """Energy, power and area of the tiny model."""

    def largest(design: Design) -> str:
        share = percent(number(design.row, "energy_top1_share"), 0)
        return f"{text(design.row, 'energy_top1_name')} {share}"

    return Grid.of(
        "Energy and area (tiny model)",
        (
            *WHO,
            _figure("nJ per token", "energy_per_token_nj", "nJ/token", 4),
            _figure("of it work on chip", "energy_dynamic_per_token_nj"),
            _figure("leakage", "energy_leakage_per_token_nj"),
            _figure("off chip", "energy_off_chip_per_token_nj"),
            Field("largest part", largest, words=True),
            _figure("TOPS/W", "tops_per_w", "TOPS/W"),
            _figure("mean W", "avg_power_w", "mean W"),
            _figure("peak W", "peak_power_w"),
            _figure("mm²", "area_mm2", "mm²"),
            Field("cells used", lambda d: percent(optional(d.row, "cell_utilisation"), 0)),
        ),
        view.groups,
        "Decode at the largest batch, before calibration. A tiny model leaves large arrays partly "
        "empty: compare chips by the full-size table.",
    )


PEAK_NOTE = (
    "Every crossbar full and busy, 1 MAC = 2 operations at the bits of the row, power with the "
    "modelled leakage. Run: the tiles that hold the model, at the bits of the run; it is scaled "
    "to that number of tiles and not the published chip. Paper: the tile count, bits and powers "
    "of the publication, which cimsim published checks. Density: mean input over the greatest / "
    "mean conductance over the greatest, at which energy is charged."
)
FORMS = {"as run": "run", "as published": "paper"}


def _density(row: Row) -> str:
    """Show the densities of a row; "any" where energy does not depend on them."""
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
    return Grid.of(
        "Peak: as run, and as published",
        (
            *WHO_ROW,
            Field("form", lambda r: FORMS[text(r[1], "form")], "form", words=True),
            Field("chip file", lambda r: text(r[1], "preset"), words=True),
            Field(
                "weight/input bits",
                lambda r: f"{number(r[1], 'weight_bits'):.0f}/{number(r[1], 'input_bits'):.0f}",
                "bits",
            ),
            Field("tiles", lambda r: f"{number(r[1], 'tiles'):,.0f}", "tiles"),
            _of_row("TOPS", "peak_tops", "TOPS"),
            Field("density", lambda r: _density(r[1]), "density"),
            Field("density from", lambda r: text(r[1], "density_origin"), words=True),
            _of_row("TOPS/W", "peak_tops_per_w", "TOPS/W"),
            _of_row("TOPS/mm²", "peak_tops_per_mm2"),
            _of_row("W", "peak_total_w", "W"),
            _of_row("off chip W", "peak_off_chip_w"),
            _of_row("mm²", "peak_area_mm2"),
            _of_row("W/mm²", "peak_w_per_mm2"),
            Field("not included", lambda r: text(r[1], "excluded"), words=True),
        ),
        (("", [(d, r) for d in view.designs for r in d.chip.peak]),),
        PEAK_NOTE,
    )


def switching_grid(view: View) -> Grid:
    """What switching does to every chip that holds fewer experts than the model has."""

    def gigabytes(design: Design) -> str:
        return significant(number(design.row, "expert_switch_bytes_per_s") / 1e9)

    def spent(design: Design) -> float:
        return number(design.row, "expert_switch_energy_nj") / number(design.row, "tokens")

    def lifetime(design: Design) -> str:
        life = optional(design.row, "switch_lifetime_s")
        if life is not None:
            return duration(life)
        return "unlimited" if number(design.row, "expert_switches") else EMPTY

    switching = [d for d in view.designs if d.switches]
    chips = [(label, [d for d in designs if d.switches]) for label, designs in view.groups]
    return Grid.of(
        "Expert switching (tiny model)",
        (
            *WHO,
            _figure("switches per token", "expert_switches_per_token"),
            Field("GB per s fetched", gigabytes),
            Field("hits", lambda d: percent(optional(d.row, "expert_hit_rate"), 0)),
            Field("optimum", lambda d: percent(optional(d.row, "expert_hit_rate_bound"), 0)),
            _time(switching, "visits of a token wait", "expert_switch_stall_per_token_us"),
            _time(switching, "latency", "latency_mean_us"),
            _time(switching, "of it for writes", "latency_write_us"),
            Field("nJ per token", lambda d: significant(spent(d))),
            Field("share", lambda d: percent(spent(d) / number(d.row, "energy_per_token_nj"), 0)),
            Field(
                "writes of the busiest slot",
                lambda d: whole(optional(d.row, "expert_slot_writes_max")),
            ),
            _time(switching, "within", "makespan_us"),
            Field("cells last", lifetime),
        ),
        [(label, designs) for label, designs in chips if designs],
        "Decode at the largest batch, before calibration; chips that hold every expert are left "
        "out. Hits: expert visits whose expert was resident, beside Belady's optimum on the same "
        "requests with loading on demand, every chip of a system for itself (prefetching may "
        "exceed it). Visits wait: for their expert, summed over the visits of a token, which wait "
        "side by side. For writes: the part of the mean time per token for which its slowest "
        "visits waited for cells to be written. Energy: weights read from memory and cells "
        "written. Cells last: endurance of the busiest slot at this rate.",
        page_only=True,
    )
