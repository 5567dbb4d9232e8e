"""Columns of results.csv that say what was run and how well the model does."""

from __future__ import annotations

from cimsim.results.column import Column
from cimsim.results.declare import count, number, text, with_calibrated

__all__ = ["AT_BATCH", "NO_CROSSBARS", "accuracy_columns", "identity_columns", "load_columns"]

_CI = "95 % Student t interval over chip seeds; equals the mean with one seed"
_WIDE = "Symmetric, so it may lie below 1 when chips differ widely."
NO_CROSSBARS = "every matrix is digital: the chip has no crossbars"
NO_ADC = f"the crossbars are digital and have no ADC, or {NO_CROSSBARS}"
AT_BATCH = "decode at the batch size in latency_batch"


def _ppl(name: str, meaning: str, minimum: float | None = 1.0) -> Column:
    return Column(name, "1", "number", meaning, "", "Accuracy", "", "lower", minimum)


def identity_columns() -> tuple[Column, ...]:
    """Return the columns of which chip, which model, at which bits."""
    g = "Identity"
    return (
        text("config", g, "Name of the chip."),
        text("chip_hash", g, "First 12 hex digits of the sha256 of the resolved chip file."),
        text("model", g, "Name of the checkpoint."),
        count("tokens", "token", g, "Scored and timed tokens."),
        count("context", "token", g, "Length of a window; no carry-over between windows."),
        count("chip_seeds", "1", g, "Chips drawn: each has its own frozen errors."),
        text("mapper", g, "Policy that placed units and copies on tiles."),
        text("calibrator", g, "Post-training calibrator; identity changes nothing."),
        text("tile_mode", g, "detailed: every slice, cycle and conversion; or folded."),
        text("analog_parts", g, "Parts of the model on crossbars, or none; the rest is digital."),
        text("device", g, "Memory technology of the cells; digital without crossbars."),
        Column("node_nm", "nm", "number", "Process node.", group=g, minimum=1.0),
        count("crossbar_rows", "1", g, "Rows of a crossbar.", NO_CROSSBARS),
        count("crossbar_cols", "1", g, "Physical columns of a crossbar.", NO_CROSSBARS),
        count("weight_bits", "bit", g, "Bits of a stored weight."),
        count("input_bits", "bit", g, "Bits of an input."),
        count(
            "adc_bits",
            "bit",
            g,
            "Bits of a conversion: the output precision of a column sum.",
            NO_ADC,
        ),
        text("adc_model", g, "Cost model of the ADC, tile.adc.kind.", NO_ADC),
    )


def accuracy_columns() -> tuple[Column, ...]:
    """Return the columns of perplexity, agreement and clipping."""
    g = "Accuracy"
    agreement = Column(
        "topk_agreement",
        "1",
        "number",
        "Share of the experts chosen by the float model that the chip chooses too; mean over "
        "tokens, MoE layers and chip seeds.",
        group=g,
        better="higher",
        minimum=0.0,
        maximum=1.0,
    )
    destroyed = Column(
        "destroyed",
        "",
        "flag",
        "Whether the chip has lost all context: its mean perplexity is at or above ppl_unigram. "
        "Findings, rankings and Pareto fronts leave out chips destroyed after calibration.",
        group=g,
    )
    return (
        _ppl("ppl_float", "Perplexity of the checkpoint in float32."),
        _ppl("ppl_ideal_int", "Perplexity with exact integer products at the chip's bits."),
        _ppl(
            "ppl_unigram",
            "Perplexity of a unigram model of the calibration text (add-one smoothing over the "
            "vocabulary) on the scored tokens: what knowing no context gives.",
        ),
        _ppl("ppl_noisy_mean", "Perplexity on the chip, mean over chip seeds."),
        _ppl("ppl_noisy_ci_low", f"Lower end of the {_CI}. {_WIDE}", None),
        _ppl("ppl_noisy_ci_high", f"Upper end of the {_CI}."),
        _ppl("ppl_calibrated_mean", "Perplexity on the chip after calibration, mean over seeds."),
        _ppl("ppl_calibrated_ci_low", f"Lower end of the {_CI}. {_WIDE}", None),
        _ppl("ppl_calibrated_ci_high", f"Upper end of the {_CI}."),
        *with_calibrated(destroyed),
        Column(
            "ppl_float_calibrated",
            "1",
            "number",
            "Perplexity of the float model with the correction applied, mean over seeds: what "
            "calibration costs a chip without errors.",
            group=g,
            empty_when="the calibrator changed nothing on any chip",
            better="lower",
            minimum=1.0,
        ),
        *with_calibrated(agreement),
        number(
            "adc_clip_rate",
            "1",
            g,
            "Share of conversions that hit the end of the ADC's range.",
            better="lower",
            empty_when="no conversion was made: crossbars are digital, unused or folded",
            maximum=1.0,
        ),
    )


def load_columns() -> tuple[Column, ...]:
    """Return the columns of load of experts and of tiles."""
    g = "Load"
    cv = "of visits over routed experts, mean over MoE layers."
    gini = number("expert_load_gini", "1", g, f"Gini coefficient {cv}", better="lower", maximum=1.0)
    most = number("expert_load_max_over_mean", "1", g, f"Largest share divided by the mean, {cv}")
    tile = number(
        "tile_load_max_over_mean",
        "1",
        g,
        f"Busiest tile over the mean of tiles that hold a weight; load is the sum over visits "
        f"of vectors x interval, {AT_BATCH}.",
        better="lower",
        empty_when=NO_CROSSBARS,
    )
    return (
        number("expert_load_cv_clean", "1", g, f"Standard deviation over mean {cv} Float model."),
        *with_calibrated(
            number("expert_load_cv", "1", g, f"Standard deviation over mean {cv}", better="lower")
        ),
        *with_calibrated(gini),
        *with_calibrated(most),
        *with_calibrated(tile),
        number(
            "tile_load_max_over_mean_round_robin",
            "1",
            g,
            "The same routing placed round-robin without copies: what the mapper is worth.",
            better="lower",
            empty_when=f"the chip switches experts, so the mapper has no choice, or {NO_CROSSBARS}",
        ),
    )
