"""Columns of scale.csv: the same tile carried to a full-size model."""

from __future__ import annotations

from cimsim.results.column import Better, Column, Table
from cimsim.results.components import COMPONENTS

__all__ = ["SCALE"]

_NO_ADC = "digital crossbars have no ADC"
_ABSENT = "the chip has no such component, or it was never active"


def _amount(name: str, unit: str, meaning: str, formula: str = "", better: Better = "") -> Column:
    return Column(
        name,
        unit,
        "number",
        meaning,
        formula,
        better=better,
        minimum=0.0,
    )


def _count(name: str, unit: str, meaning: str, empty_when: str = "") -> Column:
    return Column(name, unit, "integer", meaning, empty_when=empty_when, minimum=0)


def _energy(name: str, meaning: str) -> Column:
    return Column(
        f"energy_{name}_nj", "nJ", "number", f"{meaning} A token.", empty_when=_ABSENT, minimum=0.0
    )


SCALE = Table(
    "scale",
    "One row a chip, phase and batch: its tile at the shape of a full-size model, routing "
    "resampled from the chip's own trace.",
    (
        Column("config", "", "text", "Name of the chip."),
        Column("model", "", "text", "Checkpoint whose routing was resampled."),
        Column("shape", "", "text", "Model whose shape is timed and charged."),
        Column("phase", "", "text", "prefill or decode."),
        _count("context", "token", "Prefill: tokens of the window; decode: tokens attended to."),
        _count("batch", "sequence", "Sequences at once."),
        _count("tokens", "token", "Tokens simulated."),
        Column("device", "", "text", "Memory technology of the cells."),
        Column("node_nm", "nm", "number", "Process node.", minimum=1.0),
        _count("weight_bits", "bit", "Bits of a stored weight."),
        _count("input_bits", "bit", "Bits of an input."),
        _count("adc_bits", "bit", "Bits of a conversion.", _NO_ADC),
        Column("adc_model", "", "text", "Cost model of the ADC.", empty_when=_NO_ADC),
        _count("chips", "1", "Chips of the system (system.chips)."),
        _count("dies", "1", "Dies that hold the model once."),
        _count("tiles", "1", "Tiles of all dies."),
        _amount("area_mm2", "mm2", "On-chip area of all dies."),
        _amount(
            "chip_link_bytes_per_token",
            "byte",
            "Bytes over links between chips, each link counted.",
            better="lower",
        ),
        _amount("power_w", "W", "Energy over time, DRAM and I/O included."),
        _amount("tokens_per_s", "token/s", "Tokens over the makespan.", better="higher"),
        _amount("latency_us", "us", "Median: decode a token, prefill a window.", better="lower"),
        _amount("macs_per_token", "1", "Multiply-accumulates a token, attention included."),
        _amount(
            "tops_per_w",
            "TOPS/W",
            "Operations a joule; 1 MAC = 2 operations.",
            "2 x macs_per_token / (1000 x energy_per_token_nj)",
            "higher",
        ),
        _amount(
            "energy_per_token_nj",
            "nJ",
            "Energy a token: the sum of the component columns below.",
            "",
            "lower",
        ),
        _amount(
            "energy_off_chip_per_token_nj",
            "nJ",
            "What of it is spent off the chip: DRAM, for weights, keys and values, and chip I/O.",
        ),
        *(_energy(c.name, c.meaning) for c in COMPONENTS),
        _energy("leakage", "Leakage of all on-chip components."),
        _energy("other", "Components outside this list."),
        Column("critical_resource", "", "text", "Busiest resource."),
        Column(
            "critical_resource_utilisation",
            "1",
            "number",
            "Its busy time over the makespan.",
            minimum=0.0,
            maximum=1.0,
        ),
    ),
)
