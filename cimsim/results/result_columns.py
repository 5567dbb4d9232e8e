"""Columns of results.csv: one row a chip and model."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.results.column import EMPTY_BECAUSE, Better, Column, Table

__all__ = ["DEFAULT_BATCHES", "batch_columns", "results_table"]

DEFAULT_BATCHES = (1, 8)

_CI = "95 % Student t interval over chip seeds; equals the mean with one seed"
_BATCH = "decode at the batch size in latency_batch"


def _text(name: str, group: str, meaning: str, empty_when: str = "") -> Column:
    return Column(name, "", "text", meaning, group=group, empty_when=empty_when)


def _count(name: str, unit: str, group: str, meaning: str, empty_when: str = "") -> Column:
    return Column(name, unit, "integer", meaning, group=group, empty_when=empty_when, minimum=0)


def _pair(column: Column) -> tuple[Column, Column]:
    """A column and its twin after calibration."""
    after = Column(
        f"{column.name}_calibrated",
        column.unit,
        column.type,
        f"{column.meaning} After calibration.",
        column.formula,
        column.group,
        column.empty_when,
        column.better,
        column.minimum,
        column.maximum,
    )
    return column, after


def _ppl(name: str, meaning: str, formula: str = "") -> Column:
    return Column(name, "1", "number", meaning, formula, "Accuracy", "", "lower", 1.0)


def _number(
    name: str,
    unit: str,
    group: str,
    meaning: str,
    formula: str = "",
    better: Better = "",
    empty_when: str = "",
    maximum: float | None = None,
) -> Column:
    return Column(name, unit, "number", meaning, formula, group, empty_when, better, 0.0, maximum)


def _identity() -> tuple[Column, ...]:
    g = "Identity"
    return (
        _text("config", g, "Name of the chip."),
        _text("chip_hash", g, "First 12 hex digits of the sha256 of the resolved chip file."),
        _text("model", g, "Name of the checkpoint."),
        _count("tokens", "token", g, "Scored and timed tokens."),
        _count("context", "token", g, "Length of a window; no carry-over between windows."),
        _count("chip_seeds", "1", g, "Chips drawn: each has its own frozen errors."),
        _text("mapper", g, "Policy that placed units and copies on tiles."),
        _text("calibrator", g, "Post-training calibrator; identity changes nothing."),
        _text("tile_mode", g, "detailed: every slice, cycle and conversion; or folded."),
        _text("analog_parts", g, "Parts of the model on crossbars; the rest is digital."),
        _text("device", g, "Memory technology of the cells."),
        Column("node_nm", "nm", "number", "Process node.", group=g, minimum=1.0),
        _count("crossbar_rows", "1", g, "Rows of a crossbar."),
        _count("crossbar_cols", "1", g, "Physical columns of a crossbar."),
        _count("weight_bits", "bit", g, "Bits of a stored weight."),
        _count("input_bits", "bit", g, "Bits of an input."),
        _count(
            "adc_bits",
            "bit",
            g,
            "Bits of a conversion: the output precision of a column sum.",
            "the crossbars are digital and have no ADC",
        ),
    )


def _accuracy() -> tuple[Column, ...]:
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
    return (
        _ppl("ppl_float", "Perplexity of the checkpoint in float32."),
        _ppl("ppl_ideal_int", "Perplexity with exact integer products at the chip's bits."),
        _ppl("ppl_noisy_mean", "Perplexity on the chip, mean over chip seeds."),
        _ppl("ppl_noisy_ci_low", f"Lower end of the {_CI}."),
        _ppl("ppl_noisy_ci_high", f"Upper end of the {_CI}."),
        _ppl("ppl_calibrated_mean", "Perplexity on the chip after calibration, mean over seeds."),
        _ppl("ppl_calibrated_ci_low", f"Lower end of the {_CI}."),
        _ppl("ppl_calibrated_ci_high", f"Upper end of the {_CI}."),
        Column(
            "ppl_float_calibrated",
            "1",
            "number",
            "Perplexity of the float model with the correction applied, mean over seeds: what "
            "calibration costs a chip without errors.",
            group=g,
            empty_when="the correction cannot be applied without the chip",
            better="lower",
            minimum=1.0,
        ),
        *_pair(agreement),
        _number(
            "adc_clip_rate",
            "1",
            g,
            "Share of conversions that hit the end of the ADC's range.",
            better="lower",
            maximum=1.0,
        ),
    )


def _load() -> tuple[Column, ...]:
    g = "Load"
    cv = "of visits over routed experts, mean over MoE layers."
    gini = _number(
        "expert_load_gini", "1", g, f"Gini coefficient {cv}", better="lower", maximum=1.0
    )
    most = _number("expert_load_max_over_mean", "1", g, f"Largest share divided by the mean, {cv}")
    tile = _number(
        "tile_load_max_over_mean",
        "1",
        g,
        f"Busiest tile over the mean of tiles that hold a weight; load is the sum over visits "
        f"of vectors x interval, {_BATCH}.",
        better="lower",
    )
    return (
        _number("expert_load_cv_clean", "1", g, f"Standard deviation over mean {cv} Float model."),
        *_pair(
            _number("expert_load_cv", "1", g, f"Standard deviation over mean {cv}", better="lower")
        ),
        *_pair(gini),
        *_pair(most),
        *_pair(tile),
        _number(
            "tile_load_max_over_mean_round_robin",
            "1",
            g,
            "The same routing placed round-robin without copies: what the mapper is worth.",
            better="lower",
            empty_when="the chip switches experts, so the mapper has no choice",
        ),
    )


def batch_columns(batches: Sequence[int]) -> tuple[Column, ...]:
    """Return the decode columns of every batch size, e.g. ``tpot_p50_us_b8``."""
    g = "Speed"
    found: list[Column] = []
    for batch in batches:
        at = f"decode with {batch} sequence{'s' if batch > 1 else ''} at once"
        skipped = f"the chip's run.decode_batch has no {batch}"
        few = f"fewer than 100 samples, or {skipped}"
        found += [
            _number(
                f"tpot_p50_us_b{batch}",
                "us",
                g,
                f"Time a token, median, {at}.",
                better="lower",
                empty_when=skipped,
            ),
            _number(
                f"tpot_p99_us_b{batch}",
                "us",
                g,
                f"Time a token, 99th percentile, {at}.",
                better="lower",
                empty_when=few,
            ),
            _number(
                f"decode_tokens_per_s_b{batch}",
                "token/s",
                g,
                f"Tokens between first and last completion, {at}.",
                better="higher",
                empty_when=skipped,
            ),
            _number(
                f"decode_energy_per_token_nj_b{batch}",
                "nJ",
                "Energy",
                f"Energy a token, all components, {at}.",
                better="lower",
                empty_when=skipped,
            ),
        ]
    return tuple(found)


def _speed(batches: Sequence[int]) -> tuple[Column, ...]:
    g = "Speed"
    few = "fewer than 100 samples"
    p50 = _number("latency_p50_us", "us", g, f"Time a token, median; {_BATCH}.", better="lower")
    p99 = _number(
        "latency_p99_us",
        "us",
        g,
        f"Time a token, 99th percentile; {_BATCH}.",
        better="lower",
        empty_when=few,
    )
    rate = _number(
        "tokens_per_s",
        "token/s",
        g,
        f"Tokens completed after the first, over the time between first and last completion; "
        f"{_BATCH}.",
        better="higher",
    )
    return (
        _number(
            "prefill_tokens_per_s",
            "token/s",
            g,
            "Tokens between first and last completion of prefill.",
            better="higher",
        ),
        _number(
            "ttft_p50_us",
            "us",
            g,
            "Time from a window's entry to its last token's completion in prefill, median.",
            better="lower",
        ),
        *batch_columns(batches),
        _count("latency_batch", "sequence", g, "Batch size of the columns that name none."),
        *_pair(p50),
        *_pair(p99),
        *_pair(rate),
        _number("makespan_us", "us", g, f"Time from start to drained; {_BATCH}."),
        _text("critical_resource", g, f"Busiest resource; {_BATCH}."),
        _number(
            "critical_resource_utilisation",
            "1",
            g,
            f"Its busy time over the makespan; {_BATCH}.",
            maximum=1.0,
        ),
    )


def _energy() -> tuple[Column, ...]:
    g = "Energy"
    total = _number(
        "energy_per_token_nj",
        "nJ",
        g,
        f"Energy a token: chip, leakage, DRAM and I/O; {_BATCH}.",
        "energy_dynamic_per_token_nj + energy_leakage_per_token_nj + energy_off_chip_per_token_nj",
        "lower",
    )
    tops = []
    for rank, word in ((1, "Largest"), (2, "Second largest"), (3, "Third largest")):
        none = "" if rank == 1 else "fewer components than this"
        tops += [
            _text(f"energy_top{rank}_name", g, f"{word} energy component.", none),
            _number(
                f"energy_top{rank}_share",
                "1",
                g,
                f"Share of the {word.lower()} component in energy_per_token_nj.",
                empty_when=none,
                maximum=1.0,
            ),
        ]
    return (
        *_pair(total),
        _number("energy_dynamic_per_token_nj", "nJ", g, f"On-chip switching energy; {_BATCH}."),
        _number(
            "energy_leakage_per_token_nj",
            "nJ",
            g,
            f"On-chip leakage x time of the components in leakage_coverage; {_BATCH}.",
        ),
        _number("energy_off_chip_per_token_nj", "nJ", g, f"DRAM and chip I/O; {_BATCH}."),
        _number(
            "prefill_energy_per_token_nj", "nJ", g, "Energy a token in prefill.", better="lower"
        ),
        *tops,
        _number(
            "macs_per_token",
            "1",
            g,
            "Multiply-accumulates a token: linear layers (active experts only, no padding) plus "
            "2 x context x attention width a layer.",
        ),
        _number(
            "tops_per_w",
            "TOPS/W",
            g,
            "Operations a joule at the bits of this row; 1 MAC = 2 operations.",
            "2 x macs_per_token / (1000 x energy_per_token_nj)",
            "higher",
        ),
        _number("avg_power_w", "W", g, f"Energy over makespan; {_BATCH}.", better="lower"),
        _number("peak_power_w", "W", g, f"Worst window of 1 us; {_BATCH}.", better="lower"),
        _number(
            "leakage_coverage",
            "1",
            g,
            "Share of component kinds whose leakage is modelled; the others say not modelled.",
            maximum=1.0,
        ),
    )


def _area() -> tuple[Column, ...]:
    g = "Area"
    return (
        _number("area_mm2", "mm2", g, "All on-chip components; DRAM apart.", better="lower"),
        _number(
            "tokens_per_s_per_mm2",
            "token/s/mm2",
            g,
            "Decode throughput of a square millimetre.",
            "tokens_per_s / area_mm2",
            "higher",
        ),
        _number(
            "power_density_w_per_mm2",
            "W/mm2",
            g,
            "Average power of a square millimetre.",
            "avg_power_w / area_mm2",
            "lower",
        ),
        _count("dies", "1", g, "Dies that hold the model once."),
        _count("tiles", "1", g, "Tiles of the chip."),
        _number(
            "cell_utilisation",
            "1",
            g,
            "Cells that hold a weight over all cells.",
            better="higher",
            maximum=1.0,
        ),
    )


def _writing() -> tuple[Column, ...]:
    g = "Programming"
    none = "the calibrator is identity"
    return (
        _count(
            "expert_switch_bytes", "byte", g, f"Stored weight bytes fetched by switches; {_BATCH}."
        ),
        _number("expert_switch_energy_nj", "nJ", g, f"Energy of expert switches; {_BATCH}."),
        _count("expert_switches", "1", g, f"Experts programmed on demand; {_BATCH}."),
        _count("cells_written", "1", g, f"Cells programmed by switches; {_BATCH}."),
        _count("calibration_tokens", "token", g, "Tokens that calibration saw.", none),
        _count("calibration_cells_written", "1", g, "Cells rewritten by calibration.", none),
        _number("calibration_energy_nj", "nJ", g, "Energy of rewriting them.", empty_when=none),
        _number("calibration_time_us", "us", g, "Time of rewriting them.", empty_when=none),
        _number(
            "correction_ops_per_token",
            "1",
            g,
            "Digital operations that calibration adds to every token.",
            empty_when=none,
        ),
    )


def results_table(batches: Sequence[int] = DEFAULT_BATCHES) -> Table:
    """Return the table of results.csv.

    Args:
        batches: decode batch sizes of the run, each once, in rising order.
    """
    columns = (
        *_identity(),
        *_accuracy(),
        *_load(),
        *_speed(batches),
        *_energy(),
        *_area(),
        *_writing(),
        Column(
            EMPTY_BECAUSE,
            "",
            "text",
            "For every empty cell of the row its column and the reason.",
            group="Identity",
        ),
    )
    return Table("results", "One row a chip and model.", columns)
