"""Columns of results.csv: one row a chip and model."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.results.column import EMPTY_BECAUSE, Column, Table
from cimsim.results.declare import count, number, text, with_calibrated
from cimsim.results.quality_columns import (
    AT_BATCH,
    NO_CROSSBARS,
    accuracy_columns,
    identity_columns,
    load_columns,
)

__all__ = ["DEFAULT_BATCHES", "LATENCY_PARTS", "batch_columns", "results_table"]

DEFAULT_BATCHES = (1, 8)
LATENCY_PARTS = {
    "queue": "waiting for digital units, ADC groups, buffers, power, keys and values",
    "compute": "in crossbars, conversions apart",
    "adc": "that conversions add to visits",
    "noc": "in the network, between tiles and between chips",
    "dram": "waiting for off-chip memory",
    "write": "waiting for crossbars to be written",
    "digital": "in digital units",
}
"""Parts of a latency, which sum to it; of stages in parallel, those of the last to finish."""


HOLDS_ALL = "the chip holds every expert, or none is on tiles or asked for"


def batch_columns(batches: Sequence[int]) -> tuple[Column, ...]:
    """Return the decode columns of every batch size, e.g. ``tpot_p50_us_b8``."""
    g = "Speed"
    found: list[Column] = []
    for batch in batches:
        at = f"decode with {batch} sequence{'s' if batch > 1 else ''} at once"
        skipped = f"the chip's run.decode_batch has no {batch}"
        few = f"fewer than 100 samples, or {skipped}"
        found += [
            number(
                f"tpot_p50_us_b{batch}",
                "us",
                g,
                f"Time a token, median, {at}.",
                better="lower",
                empty_when=skipped,
            ),
            number(
                f"tpot_p99_us_b{batch}",
                "us",
                g,
                f"Time a token, 99th percentile, {at}.",
                better="lower",
                empty_when=few,
            ),
            number(
                f"decode_tokens_per_s_b{batch}",
                "token/s",
                g,
                f"Tokens over the makespan, filling and draining included, {at}.",
                better="higher",
                empty_when=skipped,
            ),
            number(
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
    p50 = number("latency_p50_us", "us", g, f"Time a token, median; {AT_BATCH}.", better="lower")
    p99 = number(
        "latency_p99_us",
        "us",
        g,
        f"Time a token, 99th percentile; {AT_BATCH}.",
        better="lower",
        empty_when=few,
    )
    rate = number(
        "tokens_per_s",
        "token/s",
        g,
        f"Tokens over the makespan, from an empty chip to an empty chip; {AT_BATCH}.",
        better="higher",
    )
    return (
        number(
            "prefill_tokens_per_s",
            "token/s",
            g,
            "Tokens over the makespan of prefill, from an empty chip to an empty chip.",
            better="higher",
        ),
        number(
            "ttft_p50_us",
            "us",
            g,
            "Time from a window's entry to its last token's completion in prefill, median.",
            better="lower",
        ),
        *batch_columns(batches),
        count("latency_batch", "sequence", g, "Batch size of the columns that name none."),
        *with_calibrated(p50),
        *with_calibrated(p99),
        number("latency_mean_us", "us", g, f"Time a token, mean; {AT_BATCH}."),
        *(
            number(f"latency_{part}_us", "us", g, f"Mean time a token {what}; {AT_BATCH}.")
            for part, what in LATENCY_PARTS.items()
        ),
        *with_calibrated(rate),
        number("makespan_us", "us", g, f"Time from start to drained; {AT_BATCH}."),
        text(
            "network_model",
            g,
            "Level of the network that served (noc.level), and for the packet level the error of "
            f"the mean latency in its range, or why a run out of range kept it; {AT_BATCH}.",
        ),
        text("critical_resource", g, f"Busiest resource; {AT_BATCH}."),
        number(
            "critical_resource_utilisation",
            "1",
            g,
            f"Its busy time over the makespan; {AT_BATCH}.",
            maximum=1.0,
        ),
    )


def _energy() -> tuple[Column, ...]:
    g = "Energy"
    total = number(
        "energy_per_token_nj",
        "nJ",
        g,
        f"Energy a token: chip, leakage, DRAM and I/O; {AT_BATCH}.",
        "energy_dynamic_per_token_nj + energy_leakage_per_token_nj + energy_off_chip_per_token_nj",
        "lower",
    )
    tops = []
    for rank, word in ((1, "Largest"), (2, "Second largest"), (3, "Third largest")):
        none = "" if rank == 1 else "fewer components than this"
        tops += [
            text(f"energy_top{rank}_name", g, f"{word} energy component.", none),
            number(
                f"energy_top{rank}_share",
                "1",
                g,
                f"Share of the {word.lower()} component in energy_per_token_nj.",
                empty_when=none,
                maximum=1.0,
            ),
        ]
    return (
        *with_calibrated(total),
        number(
            "energy_dynamic_per_token_nj",
            "nJ",
            g,
            f"Energy of work on the chip; {AT_BATCH}.",
        ),
        number(
            "energy_leakage_per_token_nj",
            "nJ",
            g,
            f"On-chip leakage x time of the components in leakage_coverage; {AT_BATCH}.",
        ),
        number("energy_off_chip_per_token_nj", "nJ", g, f"DRAM and chip I/O; {AT_BATCH}."),
        number(
            "chip_link_bytes_per_token",
            "byte",
            g,
            f"Bytes over links between chips, each link counted; {AT_BATCH}.",
            better="lower",
        ),
        number(
            "io_bytes_per_token",
            "byte",
            g,
            f"Token ids in, logits out; charged where system.io_pj_per_bit is given; {AT_BATCH}.",
        ),
        number(
            "prefill_energy_per_token_nj", "nJ", g, "Energy a token in prefill.", better="lower"
        ),
        *tops,
        number(
            "macs_per_token",
            "1",
            g,
            "Multiply-accumulates a token: linear layers (active experts only, no padding) plus "
            "2 x context x attention width a layer.",
        ),
        number(
            "tops_per_w",
            "TOPS/W",
            g,
            "Operations a joule at the bits of this row; 1 MAC = 2 operations.",
            "2 x macs_per_token / (1000 x energy_per_token_nj)",
            "higher",
        ),
        number("avg_power_w", "W", g, f"Energy over makespan; {AT_BATCH}.", better="lower"),
        number("peak_power_w", "W", g, f"Worst window of 1 us; {AT_BATCH}.", better="lower"),
        number(
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
        number("area_mm2", "mm2", g, "All on-chip components; DRAM apart.", better="lower"),
        number(
            "tokens_per_s_per_mm2",
            "token/s/mm2",
            g,
            "Decode throughput of a square millimetre.",
            "tokens_per_s / area_mm2",
            "higher",
        ),
        number(
            "power_density_w_per_mm2",
            "W/mm2",
            g,
            "Average power of a square millimetre.",
            "avg_power_w / area_mm2",
            "lower",
        ),
        count("chips", "1", g, "Chips of the system (system.chips)."),
        count("dies", "1", g, "Dies that hold the model once."),
        count("tiles", "1", g, "Tiles of the chip."),
        number(
            "cell_utilisation",
            "1",
            g,
            "Cells that hold a weight over all cells.",
            better="higher",
            empty_when=NO_CROSSBARS,
            maximum=1.0,
        ),
    )


def _writing() -> tuple[Column, ...]:
    g = "Programming"
    none = "the calibrator is identity"
    return (
        count(
            "expert_switch_bytes",
            "byte",
            g,
            f"Stored weight bytes fetched by switches; {AT_BATCH}.",
        ),
        number(
            "expert_switch_energy_nj",
            "nJ",
            g,
            f"Energy of expert switches: memory read and cells written; {AT_BATCH}.",
        ),
        count("expert_switches", "1", g, f"Experts programmed on demand; {AT_BATCH}."),
        number(
            "expert_switches_per_token",
            "1",
            g,
            f"The same a token; {AT_BATCH}.",
            "expert_switches / tokens",
            "lower",
        ),
        number(
            "expert_switch_bytes_per_s",
            "byte/s",
            g,
            f"Weight bytes that switches fetch in a second; {AT_BATCH}.",
            "1e6 x expert_switch_bytes / makespan_us",
            "lower",
        ),
        number(
            "expert_switch_stall_per_token_us",
            "us",
            g,
            "Time that expert visits wait for their expert, summed over the visits of a token, "
            f"which wait side by side; {AT_BATCH}.",
            better="lower",
        ),
        number(
            "expert_hit_rate",
            "1",
            g,
            f"Expert visits whose expert was resident at once; {AT_BATCH}.",
            better="higher",
            empty_when=HOLDS_ALL,
            maximum=1.0,
        ),
        number(
            "expert_hit_rate_bound",
            "1",
            g,
            "The same of the best policy that loads experts when they are asked for, on the same "
            f"requests (Belady's optimum; prefetching may exceed it); {AT_BATCH}.",
            empty_when=HOLDS_ALL,
            maximum=1.0,
        ),
        count("cells_written", "1", g, f"Cells programmed by switches; {AT_BATCH}."),
        count(
            "expert_slot_writes_max", "1", g, f"Writes of the most written expert slot; {AT_BATCH}."
        ),
        number(
            "switch_lifetime_s",
            "s",
            g,
            f"Time until the cells of that slot are worn out if switching goes on; {AT_BATCH}.",
            "tile.device.programming.endurance x makespan_us / (1e6 x expert_slot_writes_max)",
            "higher",
            "no expert was switched, or the cells endure any number of writes",
        ),
        count("calibration_tokens", "token", g, "Tokens that calibration saw.", none),
        count("calibration_cells_written", "1", g, "Cells rewritten by calibration.", none),
        number("calibration_energy_nj", "nJ", g, "Energy of rewriting them.", empty_when=none),
        number("calibration_time_us", "us", g, "Time of rewriting them.", empty_when=none),
        number(
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
        *identity_columns(),
        *accuracy_columns(),
        *load_columns(),
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
