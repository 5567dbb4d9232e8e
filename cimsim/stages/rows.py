"""The row of results.csv: everything that one chip and model gave, in its units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cimsim.config.load import config_hash
from cimsim.model.text import perplexity
from cimsim.results import Row, TileLoad, component_energies, results_row, top_components
from cimsim.results.destroyed import is_destroyed
from cimsim.results.statistics import (
    gini,
    load_cv,
    max_over_mean,
    mean_interval,
    percentile,
    topk_agreement,
)
from cimsim.stages.accuracy import Accuracy
from cimsim.stages.calibration_cost import CalibrationCost
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.scale import count_dies, critical_utilisation
from cimsim.stages.timing import Phase, Timing, peak_power_w
from cimsim.stages.wear import wear
from cimsim.units import BITS_PER_BYTE, FJ_PER_J, FJ_PER_NJ, PS_PER_S, PS_PER_US

__all__ = ["Measured", "clip_rate", "main_decode", "result_row"]

FEW = "p99 needs at least 100 samples"
NO_CROSSBARS = "every matrix is digital"
HOLDS_ALL = "the chip holds every expert, or none is on tiles"
NOT_CONVERTED = "no conversion was made: crossbars are digital, unused or folded"
NO_VISITS = "no expert was asked for"
IDENTITY = "the calibrator changed nothing on any chip"


@dataclass(frozen=True)
class Measured:
    """Everything that one chip and model gave.

    Attributes:
        chip: the chip with its program.
        accuracy: of the functional path.
        before: time and energy with the routing of the uncalibrated chip seed 0.
        after: the same after calibration.
        tile_load: before, after, and placed round-robin.
        calibration: what calibrating chip seed 0 costs.
        tokens: scored and timed tokens.
    """

    chip: PlacedChip
    accuracy: Accuracy
    before: Timing
    after: Timing
    tile_load: TileLoad
    calibration: CalibrationCost
    tokens: int


def result_row(measured: Measured) -> Row:
    """Return the checked row of results.csv."""
    reasons: dict[str, str] = {}
    cells: dict[str, object] = {
        **_identity(measured, reasons),
        **_accuracy(measured, reasons),
        **_load(measured, reasons),
        **_speed(measured, reasons),
        **_energy(measured, reasons),
        **_chip(measured, reasons),
        **_writing(measured, reasons),
    }
    return results_row(cells, reasons, sorted(measured.chip.config.run.decode_batch))


def main_decode(measured: Measured, timing: Timing) -> Phase:
    """Return the decode phase of the columns that name no batch: the largest batch."""
    return timing.decode(max(measured.chip.config.run.decode_batch))


def _identity(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    config = measured.chip.config
    tile = config.tile
    crossbars = bool(config.chip.analog_parts)
    digital = tile.crossbar.kind == "digital" or not crossbars
    if not crossbars:
        names = ("adc_bits", "adc_model", "crossbar_rows", "crossbar_cols")
        reasons |= dict.fromkeys(names, NO_CROSSBARS)
    elif digital:
        reasons |= dict.fromkeys(("adc_bits", "adc_model"), "digital crossbars have no ADC")
    return {
        "config": config.name,
        "chip_hash": config_hash(config)[:12],
        "model": measured.chip.program.name,
        "tokens": measured.tokens,
        "context": config.workload.context,
        "chip_seeds": config.run.chip_seeds,
        "mapper": _mapper(measured),
        "calibrator": measured.calibration.method,
        "tile_mode": config.run.tile_mode,
        "analog_parts": "+".join(config.chip.analog_parts) or "none",
        "device": tile.device.technology if crossbars else "digital",
        "node_nm": config.technology.node_nm,
        "crossbar_rows": tile.crossbar.rows if crossbars else None,
        "crossbar_cols": tile.crossbar.cols if crossbars else None,
        "weight_bits": tile.weight.bits,
        "input_bits": tile.input.bits,
        "adc_bits": None if digital else tile.adc.bits,
        "adc_model": None if digital else tile.adc.kind,
    }


def _mapper(measured: Measured) -> str:
    """Return what decided where units sit."""
    if not measured.chip.placement.units:
        return "none"
    return "slots" if measured.chip.placement.slots else measured.chip.config.mapping.policy


def _accuracy(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    accuracy = measured.accuracy
    noisy = mean_interval([perplexity(s.noisy.nll) for s in accuracy.seeds])
    calibrated = mean_interval([perplexity(s.calibrated.nll) for s in accuracy.seeds])
    clean = accuracy.clean.experts
    agreement = [topk_agreement(clean, s.noisy.experts).mean() for s in accuracy.seeds]
    after = [topk_agreement(clean, s.calibrated.experts).mean() for s in accuracy.seeds]
    float_ppl = perplexity(accuracy.clean.nll)
    corrected = [s.clean_ppl_with_correction for s in accuracy.seeds]
    if all(ppl is None for ppl in corrected):
        reasons["ppl_float_calibrated"] = IDENTITY
    clean_after = [float_ppl if ppl is None else ppl for ppl in corrected]
    clipped = clip_rate(accuracy)
    if clipped is None:
        reasons["adc_clip_rate"] = NOT_CONVERTED
    return {
        "ppl_float": float_ppl,
        "ppl_ideal_int": accuracy.ideal_ppl,
        "ppl_unigram": accuracy.unigram_ppl,
        "ppl_noisy_mean": noisy.mean,
        "ppl_noisy_ci_low": noisy.low,
        "ppl_noisy_ci_high": noisy.high,
        "ppl_calibrated_mean": calibrated.mean,
        "ppl_calibrated_ci_low": calibrated.low,
        "ppl_calibrated_ci_high": calibrated.high,
        "destroyed": is_destroyed(noisy.mean, accuracy.unigram_ppl),
        "destroyed_calibrated": is_destroyed(calibrated.mean, accuracy.unigram_ppl),
        "ppl_float_calibrated": (
            None if "ppl_float_calibrated" in reasons else float(np.mean(clean_after))
        ),
        "topk_agreement": float(np.mean(agreement)),
        "topk_agreement_calibrated": float(np.mean(after)),
        "adc_clip_rate": clipped,
    }


def clip_rate(accuracy: Accuracy) -> float | None:
    """Return the share of conversions that clip, mean over seeds; None if none is made."""
    rates = [s.statistics.clip_rate for s in accuracy.seeds]
    made = [rate for rate in rates if rate is not None]
    return float(np.mean(made)) if made else None


def _load(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    accuracy, load = measured.accuracy, measured.tile_load
    cells: dict[str, object] = {
        "expert_load_cv_clean": float(load_cv(accuracy.clean.trace.load()).mean())
    }
    for stage, suffix in (("noisy", ""), ("calibrated", "_calibrated")):
        loads = [getattr(s, stage).trace.load() for s in accuracy.seeds]
        for name, figure in (("cv", load_cv), ("gini", gini), ("max_over_mean", max_over_mean)):
            cells[f"expert_load_{name}{suffix}"] = float(np.mean([figure(x) for x in loads]))
    if not measured.chip.placement.units:
        names = (
            "tile_load_max_over_mean",
            "tile_load_max_over_mean_calibrated",
            "tile_load_max_over_mean_round_robin",
        )
        reasons |= dict.fromkeys(names, NO_CROSSBARS)
        return cells | dict.fromkeys(names)
    held = load.holds_weights
    cells["tile_load_max_over_mean"] = TileLoad.max_over_mean(load.noisy_ps, held)
    cells["tile_load_max_over_mean_calibrated"] = TileLoad.max_over_mean(load.calibrated_ps, held)
    robin = load.round_robin_ps
    if robin is None:
        reasons["tile_load_max_over_mean_round_robin"] = "the chip switches experts"
    cells["tile_load_max_over_mean_round_robin"] = (
        None if robin is None else TileLoad.max_over_mean(robin, robin > 0)
    )
    return cells


def _speed(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    config = measured.chip.config
    prefill = measured.before.prefill
    cells: dict[str, object] = {
        "prefill_tokens_per_s": prefill.tokens_per_s,
        "ttft_p50_us": percentile(prefill.result.ttft_ps, 50) / PS_PER_US,  # type: ignore[operator]
    }
    for batch in sorted(config.run.decode_batch):
        phase = measured.before.decode(batch)
        cells[f"tpot_p50_us_b{batch}"] = _us(phase, 50, f"tpot_p50_us_b{batch}", reasons)
        cells[f"tpot_p99_us_b{batch}"] = _us(phase, 99, f"tpot_p99_us_b{batch}", reasons)
        cells[f"decode_tokens_per_s_b{batch}"] = phase.tokens_per_s
        cells[f"decode_energy_per_token_nj_b{batch}"] = phase.energy_per_token_nj
    main = main_decode(measured, measured.before)
    cells["latency_batch"] = main.batch
    for timing, suffix in ((measured.before, ""), (measured.after, "_calibrated")):
        phase = main_decode(measured, timing)
        for percent in (50, 99):
            name = f"latency_p{percent}_us{suffix}"
            cells[name] = _us(phase, percent, name, reasons)
        cells[f"tokens_per_s{suffix}"] = phase.tokens_per_s
    cells["latency_mean_us"] = float(main.result.latency_ps.mean()) / PS_PER_US
    for part, mean in zip(main.result.parts, main.result.parts_ps.mean(axis=0), strict=True):
        cells[f"latency_{part}_us"] = float(mean) / PS_PER_US
    cells["makespan_us"] = main.result.makespan_ps / PS_PER_US
    cells["network_model"] = main.result.network
    cells["critical_resource"] = main.result.critical_resource
    cells["critical_resource_utilisation"] = critical_utilisation(main)
    return cells


def _us(phase: Phase, percent: float, name: str, reasons: dict[str, str]) -> float | None:
    found = percentile(phase.result.tpot_ps, percent)
    if found is None:
        reasons[name] = FEW
        return None
    return found / PS_PER_US


def _energy(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    main = main_decode(measured, measured.before)
    tokens = main.result.tokens
    kinds = {k: v / FJ_PER_NJ / tokens for k, v in main.ledger.by_kind().items()}
    total = main.energy_per_token_nj
    macs = float(measured.chip.program.linear_macs_per_token())
    macs += measured.chip.program.attention_macs_per_token(
        (measured.chip.config.workload.context + 1) / 2
    )
    tops = top_components(component_energies(main.ledger))
    counts = main.result.counts
    cells: dict[str, object] = {
        "energy_per_token_nj": total,
        "energy_per_token_nj_calibrated": main_decode(measured, measured.after).energy_per_token_nj,
        "energy_dynamic_per_token_nj": kinds["dynamic"],
        "energy_leakage_per_token_nj": kinds["leakage"],
        "energy_off_chip_per_token_nj": kinds["off_chip"],
        "chip_link_bytes_per_token": counts.chip_link_bits / BITS_PER_BYTE / counts.tokens,
        "io_bytes_per_token": (counts.io_in_bytes + counts.io_out_bytes) / counts.tokens,
        "prefill_energy_per_token_nj": measured.before.prefill.energy_per_token_nj,
        "macs_per_token": macs,
        "tops_per_w": 2.0 * macs / (1000.0 * total),
        "avg_power_w": _average_power_w(main),
        "peak_power_w": peak_power_w(measured.chip, main),
    }
    for rank in (1, 2, 3):
        name, share = f"energy_top{rank}_name", f"energy_top{rank}_share"
        if rank <= len(tops):
            cells[name], cells[share] = tops[rank - 1]
        else:
            cells[name] = cells[share] = None
            reasons[name] = reasons[share] = "fewer components than this"
    leakage = measured.chip.cost.leakage()
    modelled = sum(not isinstance(row.power_uw, str) for row in leakage)
    cells["leakage_coverage"] = modelled / len(leakage)
    return cells


def _average_power_w(phase: Phase) -> float:
    return phase.energy_fj / FJ_PER_J / (phase.result.makespan_ps / PS_PER_S)


def _chip(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    mesh, crossbar = measured.chip.mesh, measured.chip.config.tile.crossbar
    area = measured.chip.cost.area_mm2()
    main = main_decode(measured, measured.before)
    analog = bool(measured.chip.placement.units)
    if not analog:
        reasons["cell_utilisation"] = NO_CROSSBARS
    cells_in_all = mesh.n_tiles * mesh.crossbars_per_tile * crossbar.rows * crossbar.cols
    return {
        "area_mm2": area,
        "tokens_per_s_per_mm2": main.tokens_per_s / area,
        "power_density_w_per_mm2": _average_power_w(main) / area,
        "chips": mesh.chips,
        "dies": count_dies(area, mesh.chips),
        "tiles": mesh.n_tiles if analog else 0,
        "cell_utilisation": measured.chip.placement.cells_used / cells_in_all if analog else None,
    }


def _writing(measured: Measured, reasons: dict[str, str]) -> dict[str, object]:
    main = main_decode(measured, measured.before)
    switching = main.result.switching
    spent = main.ledger.total_fj(component="program")
    spent += measured.chip.cost.off_chip_fj(switching.fetched_bytes)
    worn = wear(measured.chip.config, main)
    if worn.lifetime_s is None:
        reasons["switch_lifetime_s"] = worn.unlimited
    switched = bool(measured.chip.placement.slots)
    if not switched:
        reasons |= dict.fromkeys(("expert_hit_rate", "expert_hit_rate_bound"), HOLDS_ALL)
    elif switching.hit_rate is None:
        reasons |= dict.fromkeys(("expert_hit_rate", "expert_hit_rate_bound"), NO_VISITS)
    cost = measured.calibration
    cells: dict[str, object] = {
        "expert_switch_bytes": switching.fetched_bytes,
        "expert_switch_energy_nj": spent / FJ_PER_NJ if switching.count else 0.0,
        "expert_switches": switching.count,
        "expert_switches_per_token": switching.count / main.result.tokens,
        "expert_switch_bytes_per_s": (switching.fetched_bytes / main.result.makespan_ps * PS_PER_S),
        "expert_switch_stall_per_token_us": switching.stall_ps / PS_PER_US / main.result.tokens,
        "expert_hit_rate": switching.hit_rate if switched else None,
        "expert_hit_rate_bound": switching.hit_rate_bound if switched else None,
        "cells_written": switching.cells,
        "expert_slot_writes_max": worn.writes,
        "switch_lifetime_s": worn.lifetime_s,
        "calibration_tokens": cost.tokens,
        "calibration_cells_written": cost.cells,
        "calibration_energy_nj": cost.energy_nj,
        "calibration_time_us": cost.time_us,
        "correction_ops_per_token": cost.ops_per_token,
    }
    if cost.method == "identity":
        for name in list(cells)[-5:]:
            cells[name] = None
            reasons[name] = "the calibrator is identity"
    return cells
