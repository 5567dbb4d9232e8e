"""Tables of how well the model does: perplexity on every chip, and what calibration changed."""

from __future__ import annotations

from collections.abc import Callable

from cimsim.report.blocks import Field, Grid
from cimsim.report.cells import EMPTY, flag, number, optional, percent, significant, text, whole
from cimsim.report.view import Design, View

__all__ = ["DESTROYED", "WHO", "accuracy_grid", "calibration_grids", "loss_change"]

ARROW = " → "
DESTROYED = "†"
"""Marks the perplexity of a model that has lost all context."""

WHO: tuple[Field[Design], ...] = (
    Field("#", lambda d: str(d.index), "#"),
    Field("chip", lambda d: d.name, "chip", words=True),
)
"""The fields that say which chip a row is about."""


def _ppl(stage: str, lost: str) -> Callable[[Design], str]:
    """Show a mean perplexity; `lost` is the column that says whether it is destroyed."""

    def show(design: Design) -> str:
        mark = DESTROYED if flag(design.row, lost) else ""
        return significant(number(design.row, f"ppl_{stage}_mean"), 4) + mark

    return show


def _interval(stage: str, lost: str) -> Callable[[Design], str]:
    """Show half the width of a perplexity's interval, which is symmetric."""

    def show(design: Design) -> str:
        if flag(design.row, lost):
            return "destroyed"
        low, high = (number(design.row, f"ppl_{stage}_ci_{end}") for end in ("low", "high"))
        return "none" if low == high else f"±{significant((high - low) / 2, 2)}"

    return show


def loss_change(view: View) -> Callable[[Design], str]:
    """Show the change of the loss against the first chip, with the interval of the pairs."""
    references = {text(pair, "reference") for pair in view.pairs.values()}

    def show(design: Design) -> str:
        pair = view.pairs.get((design.name, text(design.row, "model")))
        found = None if pair is None else optional(pair, "loss_change_calibrated_mean")
        if pair is None:
            return "the reference" if design.name in references else EMPTY
        if found is None:
            return EMPTY
        low, high = (number(pair, f"loss_change_calibrated_ci_{end}") for end in ("low", "high"))
        return f"{found:+.3g}" if low == high else f"{found:+.3g} [{low:+.3g}, {high:+.3g}]"

    return show


def accuracy_grid(view: View) -> Grid:
    """Who is compared, and how well the model does on each chip."""
    seeds = f"{view.seeds} chip seed{'s' if view.seeds != 1 else ''}"
    interval = "intervals over chip seeds" if view.seeds > 1 else "one seed gives no interval"
    return Grid.of(
        "Perplexity and clipping",
        (
            *WHO,
            Field("cells", lambda d: d.technology, words=True),
            Field("converter", lambda d: d.converter, words=True),
            Field("crossbar", lambda d: d.crossbar),
            Field("float", lambda d: significant(number(d.row, "ppl_float"), 4), "float"),
            Field("exact integers", lambda d: significant(number(d.row, "ppl_ideal_int"), 4)),
            Field("on chip", _ppl("noisy", "destroyed"), "on chip"),
            Field("95\u00a0%", _interval("noisy", "destroyed")),
            Field("calibrated", _ppl("calibrated", "destroyed_calibrated"), "calibrated"),
            Field("95\u00a0%", _interval("calibrated", "destroyed_calibrated"), "95 %"),
            Field("loss change [95\u00a0%]", loss_change(view)),
            Field("clipped", lambda d: percent(optional(d.row, "adc_clip_rate"), 2), "clipped"),
        ),
        view.groups,
        f"{seeds}; {interval}. Perplexity of a unigram model of the calibration text: "
        f"{view.unigrams}. {DESTROYED} at or above it: destroyed. Loss change: nat per token after "
        "calibration, less that of the first chip with the model, in pairs of chip seeds "
        "(pairs.csv).",
    )


def _two(column: str, show: Callable[[float | None], str]) -> Callable[[Design], str]:
    """Show a column before and after calibration."""
    return lambda d: (
        f"{show(optional(d.row, column))}{ARROW}{show(optional(d.row, f'{column}_calibrated'))}"
    )


def _change(design: Design) -> str:
    paired = design.calibration_effect
    found = paired.difference
    if found.samples == 1 or found.low == found.high:
        return f"{found.mean:+.3g}"
    sure = "" if paired.significant else " (not sure)"
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]{sure}"


def _words(design: Design, column: str) -> str:
    found = design.row[column]
    return EMPTY if found is None else str(found)


def _chips_and_text(design: Design) -> str:
    low, high = (
        optional(design.row, f"ppl_calibrated_chips_and_text_{e}") for e in ("low", "high")
    )
    if low is None or high is None:
        return "calibration not covered"
    return f"{significant(low, 4)} to {significant(high, 4)}"


def _yield(design: Design) -> str:
    share, low, high = (number(design.row, n) for n in ("yield", "yield_ci_low", "yield_ci_high"))
    return f"{percent(share)} [{percent(low)}, {percent(high)}]"


def calibration_grids(view: View) -> tuple[Grid, ...]:
    """What calibration changed: routing and accuracy, then load, time and cost."""
    return _routing_grid(view), _effect_grid(view)


def _routing_grid(view: View) -> Grid:
    clean = _two("expert_load_cv", significant)
    return Grid.of(
        "Calibration: perplexity and routing (tiny model)",
        (
            *WHO,
            Field("calibrator", lambda d: text(d.row, "calibrator"), words=True),
            Field("loss by part", lambda d: _words(d, "calibration_parts"), words=True),
            Field("perplexity change [95\u00a0%]", _change),
            Field("over chips and text [95\u00a0%]", _chips_and_text),
            Field("worst chip", lambda d: significant(number(d.row, "ppl_calibrated_worst"), 4)),
            Field("yield [95\u00a0%]", _yield),
            Field(
                "float, calibrated",
                lambda d: significant(optional(d.row, "ppl_float_calibrated"), 4),
            ),
            Field("top-k agreement", _two("topk_agreement", percent)),
            Field(
                "expert load CV",
                lambda d: f"{significant(number(d.row, 'expert_load_cv_clean'))}{ARROW}{clean(d)}",
            ),
            Field("expert load Gini", _two("expert_load_gini", significant)),
        ),
        view.groups,
        "Perplexity change is paired over the same chip seeds; “not sure” means that its interval "
        "contains zero. Loss by part: expected loss, nats, of calibration text no step saw, above "
        "the float model's. Over chips and text: perplexity, chips and windows both drawn anew. "
        "Yield: chips within run.perplexity_limit of the float model. Float, calibrated: the "
        "correction applied to a model without errors. "
        "Expert load CV: float model, on the chip, calibrated.",
        page_only=True,
    )


def _effect_grid(view: View) -> Grid:
    return Grid.of(
        "Calibration: load, time and cost (tiny model)",
        (
            *WHO,
            Field("mapper", lambda d: text(d.row, "mapper"), words=True),
            Field(
                "tile load, round-robin",
                lambda d: significant(optional(d.row, "tile_load_max_over_mean_round_robin")),
            ),
            Field("tile load max/mean", _two("tile_load_max_over_mean", significant)),
            Field("p50 us", _two("latency_p50_us", significant)),
            Field("nJ per token", _two("energy_per_token_nj", lambda v: significant(v, 4))),
            Field(
                "nJ to calibrate",
                lambda d: significant(optional(d.row, "calibration_all_energy_nj")),
            ),
            Field(
                "the same per token served",
                lambda d: significant(optional(d.row, "calibration_energy_per_token_nj")),
            ),
            Field("cells rewritten", lambda d: whole(optional(d.row, "calibration_cells_written"))),
            Field(
                "added operations per token",
                lambda d: whole(optional(d.row, "correction_ops_per_token")),
            ),
        ),
        view.groups,
        "Tile load: busiest over mean of the tiles that hold weights; round-robin places the same "
        "routing without copies.",
        page_only=True,
    )
