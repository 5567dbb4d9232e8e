"""Columns of the detailed tables: layers, seeds, energy rows, loads, latency samples."""

from __future__ import annotations

from cimsim.results.column import EMPTY_BECAUSE, Column, Table

__all__ = [
    "ENERGY",
    "EXPERT_LOAD",
    "LATENCY",
    "PER_LAYER",
    "PER_SEED",
    "PHASE",
    "RESOURCES",
    "TILE_LOAD",
]

_CONFIG = Column("config", "", "text", "Name of the chip.")
_MODEL = Column("model", "", "text", "Name of the checkpoint.")
PHASE = Column("phase", "", "text", "prefill, decode_b<batch>, programming or calibration.")
_CALIBRATED = Column("calibrated", "", "flag", "Whether calibration was applied.")


def _share(name: str, meaning: str, empty_when: str = "") -> Column:
    return Column(name, "1", "number", meaning, empty_when=empty_when, minimum=0.0, maximum=1.0)


def _count(name: str, unit: str, meaning: str) -> Column:
    return Column(name, unit, "integer", meaning, minimum=0)


def _amount(name: str, unit: str, meaning: str, empty_when: str = "") -> Column:
    return Column(name, unit, "number", meaning, empty_when=empty_when, minimum=0.0)


_DENSE = "the layer has no router"
_DIGITAL = "nothing of the layer is converted"

PER_LAYER = Table(
    "per_layer",
    "One row a chip, model and decoder layer; the head is the last layer.",
    (
        _CONFIG,
        _MODEL,
        _count("layer", "1", "Decoder layer, 0-based; the head has the number of layers."),
        Column("block", "", "text", "moe, dense or head."),
        _count("experts", "1", "Routed experts; 0 without a router."),
        _count("top_k", "1", "Experts chosen a token; 0 without a router."),
        _amount("macs_per_token", "1", "Linear multiply-accumulates a token, active experts."),
        _count("crossbars", "1", "Crossbars of the layer, copies included."),
        _count("cells", "1", "Cells that hold a weight, copies included."),
        _amount("conversions_per_token", "1", "ADC conversions a token, detailed tile.", _DIGITAL),
        _share("adc_clip_rate", "Share of conversions at the end of the range.", _DIGITAL),
        _share("topk_agreement", "Share of clean expert choices kept on the chip.", _DENSE),
        _share("topk_agreement_calibrated", "The same after calibration.", _DENSE),
        _amount("expert_load_cv_clean", "1", "Load: std over mean, float model.", _DENSE),
        _amount("expert_load_cv", "1", "Load: std over mean, on the chip.", _DENSE),
        _amount("expert_load_cv_calibrated", "1", "The same after calibration.", _DENSE),
        _share("expert_load_gini", "Load: Gini coefficient, on the chip.", _DENSE),
        _share("expert_load_gini_calibrated", "The same after calibration.", _DENSE),
        _share(
            "expert_load_shift",
            "Total variation between the loads of the float model and the chip.",
            _DENSE,
        ),
        _share("expert_load_shift_calibrated", "The same after calibration.", _DENSE),
        Column(EMPTY_BECAUSE, "", "text", "For every empty cell its column and the reason."),
    ),
)

PER_SEED = Table(
    "per_seed",
    "One row a chip, model and chip seed: the samples behind means and intervals.",
    (
        _CONFIG,
        _MODEL,
        _count("chip_seed", "1", "Which draw of the frozen errors."),
        Column("ppl_noisy", "1", "number", "Perplexity on this chip.", minimum=1.0),
        Column("ppl_calibrated", "1", "number", "After calibration.", minimum=1.0),
        _share("topk_agreement", "Share of clean expert choices kept."),
        _share("topk_agreement_calibrated", "After calibration."),
        _amount("expert_load_cv", "1", "Load: std over mean, mean over MoE layers."),
        _amount("expert_load_cv_calibrated", "1", "After calibration."),
    ),
)

ENERGY = Table(
    "energy",
    "One row a chip, model, phase, stage and component; rows sum to the totals.",
    (
        _CONFIG,
        _MODEL,
        PHASE,
        _CALIBRATED,
        Column("component", "", "text", "Component that is charged."),
        Column("kind", "", "text", "dynamic, leakage or off_chip."),
        _amount("count", "1", "Actions counted; nanoseconds for leakage and table powers."),
        _amount("energy_per_action_fj", "fJ", "Energy of one action.", "nothing was counted"),
        _amount("energy_nj", "nJ", "Energy of the phase."),
        _amount(
            "energy_per_token_nj",
            "nJ",
            "Energy of the phase over its tokens.",
            "the phase has no tokens",
        ),
        Column("source", "", "text", "Where the energy of an action comes from."),
    ),
)

TILE_LOAD = Table(
    "tile_load",
    "One row a chip, model and tile: busy time of its visits in decode.",
    (
        _CONFIG,
        _MODEL,
        _count("tile", "1", "Tile number, row by row."),
        _count("x", "1", "Column of its router on the mesh."),
        _count("y", "1", "Row of its router on the mesh."),
        Column("holds_weights", "", "flag", "Whether the tile holds a weight."),
        _amount("load_us", "us", "Sum over visits of vectors x interval, on the chip."),
        _amount("load_us_calibrated", "us", "The same after calibration."),
        _amount(
            "load_us_round_robin",
            "us",
            "The same routing as load_us placed round-robin.",
            "the chip switches experts",
        ),
    ),
)

EXPERT_LOAD = Table(
    "expert_load",
    "One row a chip, model, layer and expert: tokens routed to it, summed over chip seeds.",
    (
        _CONFIG,
        _MODEL,
        _count("layer", "1", "Decoder layer."),
        _count("expert", "1", "Routed expert."),
        _share("share_clean", "Share of the layer's visits, float model."),
        _share("share_noisy", "On the chip."),
        _share("share_calibrated", "After calibration."),
    ),
)

LATENCY = Table(
    "latency",
    "One row a chip, model, phase, stage and percentile: distributions of latency.",
    (
        _CONFIG,
        _MODEL,
        PHASE,
        _CALIBRATED,
        _count("samples", "1", "Samples of the distribution."),
        Column(
            "percent",
            "%",
            "number",
            "Percentile; above the 95th only with at least 100 samples.",
            minimum=0.0,
            maximum=100.0,
        ),
        _amount("latency_us", "us", "Time of a token (prefill: of a window) at it."),
    ),
)

RESOURCES = Table(
    "resources",
    "One row a chip, model and resource: how busy it is in decode at the largest batch.",
    (
        _CONFIG,
        _MODEL,
        Column(
            "kind",
            "",
            "text",
            "tile, digital unit, memory channels, link, injection, ejection (ports of the "
            "network) or chip link.",
        ),
        Column("resource", "", "text", "Its name; idle ports and links are left out."),
        _count("chip", "1", "Chip of the system that it is on; the sender of a chip link."),
        Column("x", "1", "integer", "Column of its router; -1 where it has none.", minimum=-1),
        Column("y", "1", "integer", "Row of its router; -1 where it has none.", minimum=-1),
        Column(
            "direction",
            "",
            "text",
            "Of a link: +x, -x, +y or -y.",
            empty_when="no link of a mesh",
        ),
        _share("utilisation", "Busy time over the makespan."),
    ),
)
