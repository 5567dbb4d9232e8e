"""Columns of results.csv that say what was run and how well the model does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.config.load import config_hash
from cimsim.elementary import log2
from cimsim.model.text import perplexity
from cimsim.results.column import Column, Empty, count, flag, number, text
from cimsim.results.destroyed import is_destroyed
from cimsim.results.loads import TileLoad
from cimsim.results.statistics import gini, load_cv, max_over_mean

if TYPE_CHECKING:
    from cimsim.stages.measured import ChipMeasurement, Side

__all__ = ["ACCURACY", "AT_BATCH", "IDENTITY", "LOAD", "NO_CROSSBARS", "with_calibrated"]

AT_BATCH = "decode at the batch size in latency_batch"
NO_CROSSBARS = Empty("every matrix is digital")
NO_ADC = Empty("digital crossbars have no ADC")
NOT_CONVERTED = Empty("no conversion was made: crossbars are digital, unused or folded")
NO_RANGE = Empty("nothing is converted: crossbars are digital or unused")
NOT_COUNTED = Empty("nothing is lost: codes of one level hold every sum, or nothing is converted")
UNCHANGED = Empty("the calibrator changed nothing on any chip")
SWITCHES = Empty("the chip switches experts")
_CI = "95 % Student t interval over chip seeds; equals the mean with one seed"
_WIDE = "Symmetric, so it may lie below 1 when chips differ widely."


def with_calibrated(
    column: Column[Side],
) -> tuple[Column[ChipMeasurement], Column[ChipMeasurement]]:
    """Declare a column and its twin after calibration.

    Args:
        column: what it is on either side.
    """
    # A formula names columns without calibration.
    name, meaning = f"{column.name}_calibrated", f"{column.meaning} After calibration."
    twin = replace(column, name=name, meaning=meaning, formula="")
    return (
        _of_measured(column, lambda m: column.measure(m.noisy)),
        _of_measured(twin, lambda m: twin.measure(m.calibrated)),
    )


def _of_measured(
    column: Column[Side], value: Callable[[ChipMeasurement], object]
) -> Column[ChipMeasurement]:
    return Column(
        column.name, column.unit, column.type, column.meaning, value, column.empty,
        column.formula, column.better, column.minimum, column.maximum,
    )  # fmt: skip


def _without_crossbars(m: ChipMeasurement) -> Empty | None:
    return None if m.config.chip.analog_parts else NO_CROSSBARS


def _without_adc(m: ChipMeasurement) -> Empty | None:
    digital = m.config.tile.crossbar.kind == "digital"
    return _without_crossbars(m) or (NO_ADC if digital else None)


def _converts(m: ChipMeasurement) -> bool:
    return _without_adc(m) is None and bool(m.accuracy.ranges)


def _mapper(m: ChipMeasurement) -> str:
    """Return what decided where units sit."""
    if not m.chip.placement.units:
        return "none"
    return "slots" if m.chip.placement.slots else m.config.mapping.policy


IDENTITY: tuple[Column[ChipMeasurement], ...] = (
    text("config", "Name of the chip.", lambda m: m.config.name),
    text("chip_hash", "First 12 hex digits of the sha256 of the resolved chip file.",
         lambda m: config_hash(m.config)[:12]),
    text("model", "Name of the checkpoint.", lambda m: m.chip.program.name),
    count("tokens", "token", "Scored and timed tokens.", lambda m: m.tokens),
    count("context", "token", "Length of a window; no carry-over between windows.",
          lambda m: m.config.workload.context),
    count("chip_seeds", "1", "Chips drawn: each has its own frozen errors.",
          lambda m: m.config.run.chip_seeds),
    text("mapper", "Policy that placed units and copies on tiles.", _mapper),
    text("calibrator", "Post-training calibrator; identity changes nothing.",
         lambda m: m.calibration.method),
    text("tile_mode", "detailed: every slice, cycle and conversion; or folded.",
         lambda m: m.config.run.tile_mode),
    text("analog_parts", "Parts of the model on crossbars, or none; the rest is digital.",
         lambda m: "+".join(m.config.chip.analog_parts) or "none"),
    text("device", "Memory technology of the cells; digital without crossbars.",
         lambda m: "digital" if _without_crossbars(m) else m.config.tile.device.technology),
    number("node_nm", "nm", "Process node.", lambda m: m.config.technology.node_nm, minimum=1.0),
    count("crossbar_rows", "1", "Rows of a crossbar.",
          lambda m: _without_crossbars(m) or m.config.tile.crossbar.rows, NO_CROSSBARS),
    count("crossbar_cols", "1", "Physical columns of a crossbar.",
          lambda m: _without_crossbars(m) or m.config.tile.crossbar.cols, NO_CROSSBARS),
    count("weight_bits", "bit", "Bits of a stored weight.", lambda m: m.config.tile.weight.bits),
    count("input_bits", "bit", "Bits of an input.", lambda m: m.config.tile.input.bits),
    count("adc_bits", "bit", "Bits of a conversion: the output precision of a column sum.",
          lambda m: _without_adc(m) or m.config.tile.adc.bits, NO_CROSSBARS, NO_ADC),
    text("adc_model", "Cost model of the ADC, tile.adc.kind.",
         lambda m: _without_adc(m) or m.config.tile.adc.kind, NO_CROSSBARS, NO_ADC),
)  # fmt: skip


def _ppl(
    name: str, meaning: str, value: Callable[[ChipMeasurement], object], minimum: float | None = 1.0
) -> Column[ChipMeasurement]:
    return number(name, "1", meaning, value, better="lower", minimum=minimum)


def _ppl_float_calibrated(m: ChipMeasurement) -> float | None:
    """Return the mean over seeds; a correction that changes nothing leaves the float model."""
    found = [s.clean_ppl_with_correction for s in m.accuracy.seeds]
    if all(ppl is None for ppl in found):
        return None
    clean = perplexity(m.accuracy.clean.nll)
    return float(np.mean([clean if ppl is None else ppl for ppl in found]))


def _bits_per_byte(ppl: Callable[[ChipMeasurement], float], m: ChipMeasurement) -> float:
    return log2(ppl(m)) * m.accuracy.clean.nll.size / m.accuracy.text_bytes


ACCURACY: tuple[Column[ChipMeasurement], ...] = (
    _ppl("ppl_float", "Perplexity of the checkpoint in float32.",
         lambda m: perplexity(m.accuracy.clean.nll)),
    _ppl("ppl_ideal_int", "Perplexity with exact integer products at the chip's bits.",
         lambda m: m.accuracy.ideal_ppl),
    _ppl("ppl_unigram",
         "Perplexity of a unigram model of the calibration text (add-one smoothing over the "
         "vocabulary) on the scored tokens: what knowing no context gives.",
         lambda m: m.accuracy.unigram_ppl),
    _ppl("ppl_noisy_mean", "Perplexity on the chip, mean over chip seeds.",
         lambda m: m.noisy.ppl.mean),
    _ppl("ppl_noisy_ci_low", f"Lower end of the {_CI}. {_WIDE}", lambda m: m.noisy.ppl.low, None),
    _ppl("ppl_noisy_ci_high", f"Upper end of the {_CI}.", lambda m: m.noisy.ppl.high),
    _ppl("ppl_calibrated_mean", "Perplexity on the chip after calibration, mean over seeds.",
         lambda m: m.calibrated.ppl.mean),
    _ppl("ppl_calibrated_ci_low", f"Lower end of the {_CI}. {_WIDE}",
         lambda m: m.calibrated.ppl.low, None),
    _ppl("ppl_calibrated_ci_high", f"Upper end of the {_CI}.", lambda m: m.calibrated.ppl.high),
    *(
        number(f"bits_per_byte_{name}", "bit/byte",
               f"Bits per byte of UTF-8 text: log2 of ppl_{column} times scored tokens over the "
               "bytes that they stand for, which does not depend on the tokenizer.",
               partial(_bits_per_byte, value), better="lower", minimum=0.0)
        for name, column, value in (
            ("float", "float", lambda m: perplexity(m.accuracy.clean.nll)),
            ("noisy", "noisy_mean", lambda m: m.noisy.ppl.mean),
            ("calibrated", "calibrated_mean", lambda m: m.calibrated.ppl.mean),
        )
    ),
    flag("destroyed",
         "Whether the chip has lost all context: its mean perplexity is at or above ppl_unigram. "
         "Findings, rankings and Pareto fronts leave out chips destroyed after calibration.",
         lambda m: is_destroyed(m.noisy.ppl.mean, m.accuracy.unigram_ppl)),
    flag("destroyed_calibrated", "The same after calibration.",
         lambda m: is_destroyed(m.calibrated.ppl.mean, m.accuracy.unigram_ppl)),
    number("ppl_float_calibrated", "1",
           "Perplexity of the float model with the correction applied, mean over seeds: what "
           "calibration costs a chip without errors.", _ppl_float_calibrated, UNCHANGED,
           better="lower", minimum=1.0),
    *with_calibrated(
        number(
            "topk_agreement",
            "1",
            "Share of the experts chosen by the float model that the chip chooses too; mean over "
            "tokens, MoE layers and chip seeds.",
            lambda side: float(np.mean([layers.mean() for layers in side.agreement])),
            better="higher",
            maximum=1.0,
        )
    ),
    number("adc_clip_rate", "1", "Share of conversions that hit the end of the ADC's range.",
           lambda m: m.clip_rate, NOT_CONVERTED, better="lower", maximum=1.0),
    text("adc_range", "How the ADC's range is found: tile.adc.range.kind.",
         lambda m: m.config.tile.adc.range.kind if _converts(m) else None, NO_RANGE),
    number("adc_range_levels", "level", "Top of the ADC's range, mean over analog matrices.",
           lambda m: _of_ranges(m, "top_levels", np.mean) if _converts(m) else None, NO_RANGE),
    number("adc_range_error", "1",
           "Relative error of outputs by converting clean sums of calibration text, rms over "
           "analog matrices.", lambda m: _of_ranges(m, "error", _rms), NOT_COUNTED, better="lower"),
    number("adc_range_least_error", "1", "The same with the range that errs least (auto).",
           lambda m: _of_ranges(m, "least_error", _rms), NOT_COUNTED, better="lower"),
)  # fmt: skip


def _of_ranges(
    m: ChipMeasurement, what: str, mean: Callable[[NDArray[np.float64]], Any]
) -> float | None:
    """Return a mean over the converter ranges of analog matrices that have a figure."""
    values = [getattr(r, what) for r in m.accuracy.ranges.values()]
    known = np.array([v for v in values if v is not None])
    return float(mean(known)) if known.size and np.isfinite(known).all() else None


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


_OVER = "of visits over routed experts, mean over MoE layers."


def _mean(figure: Callable[[NDArray[np.int64]], NDArray[np.float64]], side: Side) -> float:
    """Return the mean of a figure of loads over chip seeds and MoE layers."""
    return float(np.mean([figure(load) for load in side.loads]))


def _tile_load(side: Side) -> float | None:
    if not side.holds_weights.any():
        return None
    return TileLoad.max_over_mean(side.tile_load_ps, side.holds_weights)


def _round_robin(m: ChipMeasurement) -> float | Empty:
    robin = m.tile_load.round_robin_ps
    if not m.chip.placement.units:
        return NO_CROSSBARS
    return SWITCHES if robin is None else TileLoad.max_over_mean(robin, robin > 0)


LOAD: tuple[Column[ChipMeasurement], ...] = (
    number("expert_load_cv_clean", "1", f"Standard deviation over mean {_OVER} Float model.",
           lambda m: float(load_cv(m.accuracy.clean.trace.load()).mean())),
    *with_calibrated(number("expert_load_cv", "1", f"Standard deviation over mean {_OVER}",
                            lambda side: _mean(load_cv, side), better="lower")),
    *with_calibrated(number("expert_load_gini", "1", f"Gini coefficient {_OVER}",
                            lambda side: _mean(gini, side), better="lower", maximum=1.0)),
    *with_calibrated(
        number("expert_load_max_over_mean", "1", f"Largest share divided by the mean, {_OVER}",
               lambda side: _mean(max_over_mean, side))
    ),
    *with_calibrated(
        number(
            "tile_load_max_over_mean",
            "1",
            "Busiest tile over the mean of tiles that hold a weight; load is the sum over visits "
            f"of vectors x interval, {AT_BATCH}.",
            _tile_load,
            NO_CROSSBARS,
            better="lower",
        )
    ),
    number("tile_load_max_over_mean_round_robin", "1",
           "The same routing placed round-robin without copies: what the mapper is worth.",
           _round_robin, NO_CROSSBARS, SWITCHES, better="lower"),
)  # fmt: skip
