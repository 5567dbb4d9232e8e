"""How each knob is moved: on which chip, in which context, to which value.

A knob's context is what its own description asks for: the percentile of a converter's range
needs a range of that kind, a drift needs an age.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cimsim.config.knobs import Knob, find_knobs
from cimsim.mac import register_curve

__all__ = ["BASE", "DOCUMENTARY", "Case", "cases"]

# Words: they describe, and are printed beside results (a companion block is marked as such).
DOCUMENTARY = (
    "cimsim",
    "name",
    "description",
    "tile.adc.source",
    "tile.device.programming.source",
    "cost.overrides.NAME.source",
    "cost.tables.NAME.source",
    "noc.source",
    "system.link.source",
    "cost.companion",
)
# Engines are interchangeable by contract: tests of the engines say so.
INTERCHANGEABLE = ("run.engine",)
# Where the code of a custom device is found: tests of the devices say so.
FOUND = ("tile.device.module",)
# Each tile is on one node and what a plug-in makes is its own: tests of topologies and of plug-ins
# say so.
ELSEWHERE = (
    "noc.nodes.NAME.tiles", "noc.nodes.NAME.at", "noc.topology", "noc.options",
    # On a model of random weights no step is kept at any threshold: tests/romer/test_calibrate.py.
    "calibration.min_gain_nats", "calibration.accept_mode", "calibration.accept_tokens",
)  # fmt: skip
# What scale.csv is about: these runs leave it out.
FULL_SIZE = ("workload.shape",)

# Every source of error on, so that each of its parameters has something to move.
BASE = (
    "tile.pes=1",  # many tiles, so that placement and the network matter
    "tile.device.sigma=0.05",
    "tile.device.read_noise={sigma: 0.05, sigma_unit: cell_level, scaling: constant}",
    "tile.device.drift={nu: 0.05, nu_sigma: 0.02, t0_s: 1.0}",
    "tile.device.age_s=1000",
    "tile.device.stuck_low=0.002",
    "tile.device.stuck_high=0.002",
    "tile.device.temperature={sigma_per_c: 0.002, read_noise_per_c: 0.002, "
    "conductance_per_c: 0.001}",
    "technology.temperature_c=60",
    "tile.adc.offset_lsb=0.3",
    "tile.adc.gain_sigma=0.02",
    "tile.adc.inl_lsb=0.3",
    "tile.adc.noise_lsb=0.3",
    "run.chip_seeds=1",
)
# Small tiles; the second chip holds half of the experts, the third calibrates by rewriting.
TILES = ("tile.pes=1", "run.chip_seeds=1")
ROOMY = (*TILES, "chip.spare_fraction=1.0")  # copies of large blocks find room
SWITCHING = ("chip.tiles=5", *TILES)
COARSE = ("tile.adc.bits=4", *TILES)
MERGED = ("tile.weight.encoding=differential", "tile.pes=1", "tile.pe.merge={kind: binary}")
COUNTER = (
    "tile.adc={kind: counter, bits: 8, rate_gsps: 0.003, per_pe: 64, clock_ghz: 1, static_uw: 9}",
)
WALDEN = ("tile.adc={kind: walden, bits: 8, rate_gsps: 1.0, per_pe: 8, fom_fj: 20, area_um2: 900}",)
SCHREIER = (
    "tile.adc={kind: schreier, bits: 8, rate_gsps: 1.0, per_pe: 8, fom_db: 170, area_um2: 900}",
)
TABLE = (
    "tile.adc={kind: table, bits: 8, rate_gsps: 1.0, per_pe: 8, energy_pj: 2, area_um2: 900, "
    "source: test}",
)
CELLS = (
    "tile.device={kind: measured, unit: frac_gmax, rows: [[1, 25, 0, 0, 0.02], "
    "[1, 25, 1, 0.9, 0.02]]}",
    *TILES,
)
TRANSFER = (
    "tile.adc={kind: measured, bits: 8, rate_gsps: 1.0, per_pe: 8, energy_pj: 2, area_um2: 900, "
    "source: test, rows: [[0, 0, 0.2], [1, 255, 0.2]]}",
    *TILES,
)
REGISTERS = ("cost.tree_registers=2", "cost.register_ns=0.1")
PWM = ("tile.input.signed=two_phase", "tile.dac={kind: pwm, bits: 4, unit_ns: 10.0}")
AGAIN = (*PWM, "tile.pes=1", "tile.adc.range={kind: percentile, percentile: 98}")
RECOVERY = (*AGAIN, "tile.dac.recovery_bits=1")
SKIPPING = ("tile.crossbar.rows_active=4", *TILES)
PCM = ("tile.device={kind: pcm, technology: pcm, age_s: 100}", "run.chip_seeds=1")


CHIPS = ("system.chips=4", *BASE)  # so many that topologies differ

GRAPH = (
    "noc={kind: graph, nodes: {extra: {tiles: [0, 1]}, b: {tiles: [2]}, c: {tiles: [3]}}, "
    "edges: [{between: [extra, b]}, {between: [b, c]}]}",
    "run.chip_seeds=1",
)
FLITS = ("noc.level=flit", *BASE)
SHORT = ("noc.vc_buffer_flits=2", "noc.packet_flits=2", "noc.virtual_channels=1", *FLITS)
EXTRA = ("cost.tables={extra: {power_mw: 5, area_mm2: 0.1, source: test}}",)
USER = (
    "cost.overrides={tile_buffer: {energy_fj: 5, area_um2: 9000, leakage_uw: 20, at_vdd_v: 1.0}}",
)
CUSTOM = (
    "tile.device={kind: custom, technology: reram, model: first, module: custom_cells, "
    "parameters: {sigma: 0.1}}",
    "run.chip_seeds=1",
)


@register_curve("knob_bent")
def bent(place: np.ndarray) -> np.ndarray:
    """A converter whose steps shorten towards the top."""
    return place + 0.3 * place * (1.0 - place)


@dataclass(frozen=True)
class Case:
    """One knob moved.

    Attributes:
        path: the knob.
        chip: the bundled chip that it is moved on.
        context: overrides of both runs.
        value: what the second run sets it to, as YAML.
    """

    path: str
    chip: str
    context: tuple[str, ...]
    value: str

    def __str__(self) -> str:
        return f"{self.path}={self.value}"


AGED = (*BASE, "tile.adc.drift={gain_per_decade: 0.02, calibrated_for_s: 1e6}")
HOT_FLASH = ("technology.temperature_c=85", "tile.device.threshold_mv_per_c=-0.1")

_SPECIAL: dict[str, tuple[str, tuple[str, ...], str]] = {
    "system.chips": ("isaac", BASE, "3"),
    "system.placement": ("isaac", CHIPS, "experts"),
    "chip.power_limit_w": ("isaac", BASE, "0.001"),
    "tile.pe.subtract": ("eflash_40nm", (), "digital"),
    "tile.dac.bits": ("isaac", ("tile.input.signed=two_phase",), "2"),
    "tile.adc.rate_gsps": ("isaac", BASE, "0.05"),
    "tile.adc.curve": ("isaac", BASE, "knob_bent"),
    "tile.adc.reference_gain": ("isaac", BASE, "1.2"),
    "tile.adc.drift.calibrated_c": ("isaac", BASE, "45"),
    "tile.adc.drift.calibrated_for_s": ("isaac", AGED, "1e8"),
    "tile.adc.drift.t0_s": ("isaac", AGED, "60"),
    "tile.adc.drift.offset_lsb_per_c": ("isaac", BASE, "0.02"),
    "tile.adc.drift.gain_per_c": ("isaac", BASE, "0.001"),
    "tile.adc.drift.reference_per_c": ("isaac", BASE, "0.002"),
    "tile.adc.drift.offset_lsb_per_decade": ("isaac", AGED, "0.5"),
    "tile.adc.drift.gain_per_decade": ("isaac", AGED, "0.05"),
    "tile.pe.supply_droop": ("isaac", BASE, "0.1"),
    "tile.crossbar.stuck_columns_high": ("isaac", BASE, "0.05"),
    "tile.crossbar.stuck_columns_low": ("isaac", BASE, "0.05"),
    "tile.device.shift_level": ("isaac", BASE, "0.1"),
    "tile.device.temperature.shift_level_per_c": ("isaac", BASE, "0.005"),
    "tile.device.threshold_mv_per_c": ("eflash_40nm", ("technology.temperature_c=85",), "-0.5"),
    "tile.device.slope_factor": ("eflash_40nm", HOT_FLASH, "3.0"),
    "tile.device.model": ("isaac", CUSTOM, "second"),
    "tile.device.parameters": ("isaac", CUSTOM, "{sigma: 0.2}"),
    "tile.tiers": ("isaac", TILES, "2"),
    "tile.tier_switch_ns": ("isaac", (*TILES, "tile.tiers=4"), "500"),
    "tile.tier_switch_pj": ("isaac", (*TILES, "tile.tiers=4"), "500"),
    "tile.device.file": ("isaac", (*CELLS, "tile.device.g_max_us=40"), "reram_wan.csv"),
    "tile.device.unit": ("isaac", CELLS, "us"),
    "tile.device.rows": ("isaac", CELLS, "[[1, 25, 0, 0, 0.1], [1, 25, 1, 1, 0.1]]"),
    "tile.adc.file": ("isaac", TRANSFER, "ramp_8b.csv"),
    "tile.adc.rows": ("isaac", TRANSFER, "[[0, 0, 0.2], [0.5, 140, 0.2], [1, 255, 0.2]]"),
    "cost.idle.adc": ("isaac", (*TABLE, "tile.adc.leakage_uw=50"), "on"),
    "cost.tables.NAME.covers": ("isaac", EXTRA, "[adc]"),
    "technology.vdd_v": ("isaac", BASE, "1.0"),
    "technology.typed_at_vdd_v": ("isaac", BASE, "1.0"),
    "cost.leakage_at_vdd_v": ("isaac", BASE, "1.0"),
    "tile.dac.recovery_bits": ("isaac", AGAIN, "1"),
    "tile.input.skip_zeros": ("isaac", SKIPPING, "true"),
    "tile.adc.search": ("isaac", TILES, "lsb_first"),
    "cost.search_cycles": ("isaac", (*TILES, "tile.adc.search=lsb_first"), "3.5"),
    "cost.recovered_share": ("isaac", RECOVERY, "0.5"),
    "cost.skipped_share": ("isaac", (*SKIPPING, "tile.input.skip_zeros=true"), "0.5"),
    "tile.pe.merge.kind": ("isaac", MERGED[:2], "binary"),
    "tile.crossbar.sense.kind": ("isaac", (), "clamp"),
    "cost.scope": ("isaac", (), "system"),
    "cost.control_share": ("isaac", ("cost.scope=macro",), "0.3"),
    "cost.control_area_share": ("isaac", ("cost.scope=macro",), "0.2"),
    "cost.system_factor": ("isaac", ("cost.scope=system",), "40"),
    "chip.tiles": ("isaac", BASE, "12"),
    "chip.spare_fraction": ("isaac", BASE, "2.0"),
    "chip.analog_parts": ("isaac", BASE, "[experts]"),
    "tile.crossbar.kind": ("sram_analog_22nm", (), "digital"),
    "tile.crossbar.rows_active": ("isaac", BASE, "8"),
    "tile.device.read_noise.knee": (
        "isaac",
        (*TILES, "tile.device.read_noise={sigma: 0.2, scaling: saturating}"),
        "0.5",
    ),
    "tile.crossbar.wire_ohm": ("isaac", BASE, "0.05"),
    "tile.weight.encoding": ("isaac", (), "differential"),
    "tile.dac.unit_ns": (
        "isaac",
        PWM,
        "20.0",
    ),
    "tile.adc.enob": ("isaac", BASE, "5.0"),
    "tile.adc.range.percentile": ("isaac", (*COARSE, "tile.adc.range={kind: percentile}"), "90"),
    "tile.adc.range.levels": ("isaac", ("tile.adc.range={kind: fixed, levels: 60}",), "20"),
    "tile.adc.range.kind": ("isaac", COARSE, "full"),
    "tile.adc.clock_ghz": ("isaac", COUNTER, "0.5"),
    "tile.adc.static_uw": ("isaac", COUNTER, "90"),
    "tile.adc.kind": ("isaac", (), "sar_table"),
    "tile.adc.optimism": ("isaac", ("tile.adc.kind=regression",), "median"),
    "tile.adc.fom_fj": ("isaac", WALDEN, "40"),
    "tile.adc.area_um2": ("isaac", WALDEN, "1800"),
    "tile.adc.fom_db": ("isaac", SCHREIER, "165"),
    "tile.adc.energy_pj": ("isaac", TABLE, "4"),
    "tile.adc.leakage_uw": ("isaac", (*TABLE, "cost.idle.adc=on"), "50"),
    "tile.device.kind": ("isaac", (), "reram"),
    "tile.device.technology": ("isaac", (), "pcm"),
    "tile.device.profile": ("isaac", PCM, "hermes_1dev"),
    "tile.device.sigma_lsb": ("eflash_40nm", (), "1.0"),
    "tile.device.mean_lsb": ("eflash_40nm", (), "0.26"),
    "tile.device.gain": ("eflash_40nm", (), "0.98"),
    "tile.device.temperature_factor": ("eflash_40nm", ("technology.temperature_c=85",), "3.0"),
    "tile.device.verify.tolerance": ("isaac", BASE, "0.05"),
    "tile.device.verify.attempts": ("isaac", (*BASE, "tile.device.verify.tolerance=0.02"), "2"),
    "tile.device.drift_compensation": ("isaac", BASE, "global"),
    "noc.kind": ("isaac", BASE, "mesh"),
    "noc.concentration": ("isaac", BASE, "1"),
    "noc.nodes.NAME.hosts": ("isaac", GRAPH, "[digital]"),
    "noc.edges": ("isaac", GRAPH, "[{between: [extra, c]}, {between: [b, c]}]"),
    "noc.level": ("isaac", (*BASE, "noc.level=packet"), "flit"),
    "noc.virtual_channels": ("isaac", FLITS, "1"),
    "noc.vc_buffer_flits": ("isaac", SHORT, "8"),
    "noc.packet_flits": ("isaac", FLITS, "2"),
    "noc.tile_pitch_mm": ("isaac", BASE, "5.0"),
    "memory.pj_per_bit": ("isaac", ("memory.kv=dram",), "30"),
    "cost.cell_area_um2": ("isaac", (), "1.0"),
    "cost.cell_cap_ff": ("sram_analog_22nm", (), "6.0"),
    "cost.input_bit_density": ("isaac", (), "0.9"),
    "cost.mean_level_fraction": ("isaac", (), "0.9"),
    "cost.booth": ("sram_digital_28nm", (), "true"),
    "cost.cells_per_product": ("sram_digital_28nm", (), "4"),
    "cost.tree_registers": ("sram_digital_28nm", ("cost.register_ns=0.1",), "2"),
    "cost.register_ns": ("sram_digital_28nm", REGISTERS, "3.0"),
    "cost.digital_bit_fj": ("sram_digital_28nm", (), "3.0"),
    "cost.digital_row_fj": ("sram_digital_28nm", ("cost.digital_bit_fj=3.0",), "2.0"),
    "cost.stage_interval_ns": ("isaac", (), "300"),
    "cost.drive_ns": ("isaac", (), "20"),
    "cost.exclude": ("isaac", (), "[adc]"),
    "cost.overrides": ("isaac", (), "{adc: {energy_scale: 2.0}}"),
    "cost.tables": ("isaac", (), "{extra: {power_mw: 5, area_mm2: 0.1, source: test}}"),
    "digital.weight_sram_kb": ("isaac", (), "0"),
    "digital.kv_sram_kb": ("isaac", (), "0.5"),
    "memory.kv": ("isaac", (), "dram"),
    "mapping.policy": ("isaac", BASE, "round_robin"),
    "mapping.replica_choice": (
        "sram_digital_28nm",
        (*TILES, "chip.spare_fraction=2.0"),
        "least_loaded",
    ),
    "mapping.replicas": ("isaac", ROOMY, "false"),
    "mapping.weights.time": ("isaac", BASE, "0"),
    "mapping.weights.layers": ("isaac", BASE, "10"),
    "mapping.weights.hop_bytes": ("isaac", BASE, "10"),
    "mapping.weights.replicas": ("isaac", ROOMY, "10"),
    "calibration.method": ("isaac", BASE, "identity"),
    "calibration.tokens": ("isaac", BASE, "512"),
    "calibration.interval_hours": ("isaac", BASE, "1e-6"),
    "calibration.shards": ("isaac", (*BASE, "run.chip_seeds=2"), "own"),
    "run.perplexity_limit": ("isaac", ("tile.device.sigma=0.3", *TILES), "1000"),
    "run.tile_mode": ("eflash_40nm", (), "folded"),
    "run.decode_batch": ("isaac", (), "[2]"),
    "run.chip_seeds": ("isaac", BASE, "2"),
    "run.seed": ("isaac", BASE, "1"),
    "run.coupling": ("isaac", ("chip.tiles=6", "chip.switching=lru", *TILES), "trace"),
    "run.backend": ("eflash_40nm", (), "torch"),
    "run.device": ("isaac", BASE, "cuda"),
    "run.precision": ("eflash_40nm", ("run.backend=torch", "tile.adc.noise_lsb=0.3"), "fast"),
    "run.age_step": (
        "isaac",
        ("tile.device.drift={nu: 0.1, t0_s: 1e-5}", "calibration.method=identity", *TILES),
        "0.2",
    ),
    "chip.switching": ("sram_switching_28nm", SWITCHING, "pinned"),
}
_BY_PREFIX: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("tile.device.programming.", "sram_switching_28nm", SWITCHING),
    ("memory.", "isaac", ("memory.kv=dram",)),
    ("tile.pe.merge.", "isaac", MERGED),
    (
        "tile.crossbar.sense.",
        "isaac",
        ("tile.crossbar.sense={kind: clamp}", "tile.crossbar.rows_active=8"),
    ),
    ("cost.overrides.", "isaac", USER),
    ("cost.tables.", "isaac", EXTRA),
    ("cost.", "isaac", ()),
    ("noc.", "isaac", BASE),
    ("system.link.", "isaac", CHIPS),
)


def cases() -> tuple[Case, ...]:
    """Return a case for every knob that can move a result."""
    quiet = (*DOCUMENTARY, *INTERCHANGEABLE, *FOUND, *ELSEWHERE, *FULL_SIZE)
    return tuple(_case(k) for k in find_knobs() if k.path not in quiet)


def _case(knob: Knob) -> Case:
    if knob.path in _SPECIAL:
        return Case(knob.path, *_SPECIAL[knob.path])
    for prefix, chip, context in _BY_PREFIX:
        if knob.path.startswith(prefix):
            return Case(knob.path, chip, context, "")
    return Case(knob.path, "isaac", BASE, "")
