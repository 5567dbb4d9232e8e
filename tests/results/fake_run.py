"""Runs with made-up but plausible numbers, for tests of files and reports."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from cimsim.results import (
    COMPONENTS,
    ENERGY,
    Activity,
    ChipResult,
    ExpertLoad,
    LatencySamples,
    Row,
    RunResults,
    TileLoad,
    Track,
)
from cimsim.results.statistics import gini, load_cv, max_over_mean, mean_interval, percentile
from cimsim.stages.columns.details import PER_LAYER, PER_SEED, RESOURCES
from cimsim.stages.columns.peak import AS_PUBLISHED, AS_RUN, PEAK
from cimsim.stages.columns.registry import results_table, run_tables
from cimsim.stages.columns.scale import SCALE
from cimsim.stages.columns.speed import LATENCY_PARTS

CHIPS = [
    # name, device, node, rows, cols, weight, input, adc bits, difficulty, energy scale
    ("isaac", "reram", 32.0, 128, 128, 8, 8, 8, 0.3, 1.0),
    ("eflash_40nm", "eflash", 40.0, 256, 512, 8, 8, 8, 1.2, 0.55),
    ("hermes", "pcm", 14.0, 256, 256, 8, 8, 8, 0.9, 0.4),
    ("neurram", "reram", 130.0, 256, 256, 4, 4, 6, 4.0, 2.2),
    ("raella", "reram", 32.0, 512, 512, 8, 8, 7, 0.15, 0.33),
    ("sram_analog_22nm", "sram", 22.0, 256, 256, 8, 8, 6, 0.7, 0.25),
    ("sram_digital_28nm", "sram", 28.0, 128, 128, 8, 8, None, 0.0, 0.7),
    ("sram_switching_28nm", "sram", 28.0, 128, 128, 8, 8, None, 0.0, 1.3),
    ("pcm_two_cells_per_weight_wide_array_2027", "pcm", 14.0, 1024, 1024, 8, 8, 9, 0.5, 0.6),
    ("fefet_22nm_research_prototype_rev_b", "fefet", 22.0, 256, 256, 4, 8, 5, 2.5, 0.2),
]
MACS = 6.4e6
SEEDS = 3
UNIGRAM_PPL = 900.0


def fake_run(
    chips: int, *, complete: bool = True, model: str = "olmoe-tiny", tokens: int = 1024
) -> RunResults:
    """A run of the first `chips` of the list."""
    made = tuple(fake_chip(i, model=model, tokens=tokens) for i in range(chips))
    return RunResults(
        run_hash="0123456789abcdef" * 4,
        chips=made,
        text_name="heldout.txt",
        schema=run_tables(),
        complete=complete,
    )


def fake_chip(index: int, *, model: str = "olmoe-tiny", tokens: int = 1024) -> ChipResult:
    """One chip with one model."""
    name, *_ = chip = CHIPS[index % len(CHIPS)]
    rng = np.random.default_rng(index)
    seeds = _seeds(name, model, float(chip[8]), rng)
    experts = _experts(float(chip[8]), rng)
    tiles = _tiles(rng, 12 + 7 * index)
    latency = _latency(tokens, float(chip[9]), rng)
    energy = _energy(name, model, chip[7] is not None, float(chip[9]), rng)
    row = _row(chip, model, tokens, seeds, experts, tiles, latency, energy)
    return ChipResult(
        name=name if model == "olmoe-tiny" else f"{name}.{model}",
        row=row,
        config_yaml=f"cimsim: 2\nname: {name}\n",
        per_layer=_layers(name, model, experts, chip[7] is not None),
        per_seed=seeds,
        energy=energy,
        scale=_scale(chip, model, energy),
        peak=_peak(chip, model),
        tile_load=tiles,
        expert_load=experts,
        latency=latency,
        resources=_resources(name, model),
        activity=_activity(rng, len(tiles.noisy_ps)),
        warnings=("8.1 % of conversions clip: widen tile.adc.range",) if index == 3 else (),
        notes=("ADC energy is extrapolated below 28 nm",) if index == 2 else (),
        not_modelled=("leakage of dac", "leakage of noc_link"),
        seconds=12.5 + index,
    )


def _seeds(name: str, model: str, difficulty: float, rng: np.random.Generator) -> tuple[Row, ...]:
    rows = []
    for seed in range(SEEDS):
        noisy = 14.05 * (1 + 0.4 * difficulty * (1 + 0.1 * rng.normal())) if difficulty else 14.08
        calibrated = 14.05 + 0.6 * (noisy - 14.05) if difficulty else 14.08
        rows.append(
            PER_SEED.row(
                {
                    "config": name,
                    "model": model,
                    "chip_seed": seed,
                    "ppl_noisy": noisy,
                    "ppl_calibrated": calibrated,
                    "topk_agreement": 1 - 0.08 * difficulty**0.7,
                    "topk_agreement_calibrated": 1 - 0.05 * difficulty**0.7,
                    "expert_load_cv": 0.37 + 0.05 * difficulty,
                    "expert_load_cv_calibrated": 0.37 + 0.02 * difficulty,
                }
            )
        )
    return tuple(rows)


def _experts(difficulty: float, rng: np.random.Generator) -> ExpertLoad:
    clean = rng.gamma(7.0, 18.0, size=(4, 64)).astype(np.int64) * 3 + 3
    noisy = (clean * np.exp(0.15 * difficulty * rng.normal(size=clean.shape))).astype(np.int64) + 1
    calibrated = ((clean + noisy) // 2).astype(np.int64)
    return ExpertLoad((0, 1, 2, 3), clean, noisy, calibrated)


def _tiles(rng: np.random.Generator, tiles: int) -> TileLoad:
    load = (rng.gamma(4.0, 1.0, size=tiles) * 5e8).astype(np.int64)
    holds = np.ones(tiles, dtype=np.bool_)
    holds[-max(1, tiles // 8) :] = False
    load[~holds] = 0
    even = (0.6 * load + 0.4 * load[holds].mean()).astype(np.int64)
    even[~holds] = 0
    robin = (load * rng.uniform(0.7, 2.0, tiles)).astype(np.int64)
    width = int(np.ceil(np.sqrt(tiles)))
    places = np.stack([np.arange(tiles) % width, np.arange(tiles) // width], axis=1)
    return TileLoad(places, places, holds, load, even, robin, holds)


def _latency(tokens: int, scale: float, rng: np.random.Generator) -> tuple[LatencySamples, ...]:
    found = []
    for phase, base in (("prefill", 900.0), ("decode_b1", 31.0), ("decode_b8", 62.0)):
        n = 4 if phase == "prefill" else tokens
        for stage in ("noisy", "calibrated"):
            ratio = 0.97 if stage == "calibrated" else 1.0
            samples = base * (0.5 + scale) * ratio * rng.gamma(20.0, 1 / 20.0, n)
            found.append(LatencySamples(phase, stage, samples))
    return tuple(found)


def _energy(
    name: str, model: str, analog: bool, scale: float, rng: np.random.Generator
) -> tuple[Row, ...]:
    rows = []
    for phase, factor in (("prefill", 0.8), ("decode_b1", 1.4), ("decode_b8", 1.0)):
        for calibrated in (False, True):
            for component in COMPONENTS:
                if component.name == "program" or (component.name == "adc" and not analog):
                    continue
                large = {"adc": 900.0, "crossbar": 300.0, "digital_linear": 500.0, "dram": 80.0}
                per_token = large.get(component.name, 40.0) * scale * factor * rng.uniform(0.7, 1.3)
                rows.append(_energy_row(name, model, phase, component.name, per_token, calibrated))
            leak = 120.0 * scale * rng.uniform(0.7, 1.3)
            rows.append(_energy_row(name, model, phase, "leakage_adc", leak, calibrated))
    return tuple(rows)


def _energy_row(
    name: str, model: str, phase: str, component: str, per_token: float, calibrated: bool
) -> Row:
    leaks = component.startswith("leakage")
    kind = (
        "leakage" if leaks else "off_chip" if component in {"dram", "io", "kv_dram"} else "dynamic"
    )
    return ENERGY.row(
        {
            "config": name,
            "model": model,
            "phase": phase,
            "calibrated": calibrated,
            "component": component,
            "kind": kind,
            "count": 1e6,
            "energy_per_action_fj": per_token * 1024,
            "energy_nj": per_token * 1024,
            "energy_per_token_nj": per_token,
            "source": "made up",
        }
    )


def _sum(energy: tuple[Row, ...], kind: str | None, *, calibrated: bool, phase: str) -> float:
    return sum(
        float(r["energy_per_token_nj"])
        for r in energy
        if r["phase"] == phase
        and r["calibrated"] is calibrated
        and (kind is None or r["kind"] == kind)
    )


def _row(chip, model, tokens, seeds, experts, tiles, latency, energy) -> Row:
    name, device, node, rows, cols, weight, inputs, adc, difficulty, scale = chip
    noisy = mean_interval([r["ppl_noisy"] for r in seeds])
    calibrated = mean_interval([r["ppl_calibrated"] for r in seeds])
    us = {(s.phase, s.stage): s.latency_us for s in latency}
    b8, b8c = us["decode_b8", "noisy"], us["decode_b8", "calibrated"]
    parts = {
        k: _sum(energy, k, calibrated=False, phase="decode_b8")
        for k in ("dynamic", "leakage", "off_chip")
    }
    total = sum(parts.values())
    top = sorted(
        (r for r in energy if r["phase"] == "decode_b8" and not r["calibrated"]),
        key=lambda r: -float(r["energy_per_token_nj"]),
    )[:3]
    rate = 8e6 / float(b8.mean())
    area = 14.0 * (1 + scale)
    power = total * 1e-9 * rate
    held = tiles.holds_weights
    reasons = {"ppl_float_calibrated": "made-up run"}
    for end in ("low", "high"):
        reasons[f"ppl_calibrated_chips_and_text_{end}"] = "fewer than 5 chips"
    cells = {
        "config": name,
        "chip_hash": sha256(name.encode()).hexdigest()[:12],
        "model": model,
        "tokens": tokens,
        "context": 256,
        "chip_seeds": SEEDS,
        "mapper": "local_search",
        "calibrator": "romer" if difficulty else "identity",
        "tile_mode": "detailed",
        "analog_parts": "attention, router, experts, shared",
        "device": device,
        "node_nm": node,
        "crossbar_rows": rows,
        "crossbar_cols": cols,
        "weight_bits": weight,
        "input_bits": inputs,
        "adc_bits": adc,
        "adc_model": "sar_table" if adc else None,
        "ppl_float": 14.05,
        "ppl_ideal_int": 14.08 if weight == 8 else 15.3,
        "ppl_unigram": UNIGRAM_PPL,
        "ppl_noisy_mean": noisy.mean,
        "ppl_noisy_ci_low": noisy.low,
        "ppl_noisy_ci_high": noisy.high,
        "ppl_calibrated_mean": calibrated.mean,
        "ppl_calibrated_ci_low": calibrated.low,
        "ppl_calibrated_ci_high": calibrated.high,
        "bits_per_byte_float": 1.1,
        "bits_per_byte_noisy": 1.3,
        "bits_per_byte_calibrated": 1.2,
        "destroyed": noisy.mean >= UNIGRAM_PPL,
        "destroyed_calibrated": calibrated.mean >= UNIGRAM_PPL,
        "ppl_float_calibrated": None,
        "topk_agreement": seeds[0]["topk_agreement"],
        "topk_agreement_calibrated": seeds[0]["topk_agreement_calibrated"],
        "adc_clip_rate": 0.081 if name == "neurram" else 0.002 if adc else None,
        "adc_range": "percentile" if adc else None,
        "adc_range_levels": 87.0 if adc else None,
        "adc_range_error": 0.12 if adc else None,
        "adc_range_least_error": 0.09 if adc else None,
        "expert_load_cv_clean": load_cv(experts.clean).mean(),
        "expert_load_cv": load_cv(experts.noisy).mean(),
        "expert_load_cv_calibrated": load_cv(experts.calibrated).mean(),
        "expert_load_gini": gini(experts.noisy).mean(),
        "expert_load_gini_calibrated": gini(experts.calibrated).mean(),
        "expert_load_max_over_mean": max_over_mean(experts.noisy).mean(),
        "expert_load_max_over_mean_calibrated": max_over_mean(experts.calibrated).mean(),
        "tile_load_max_over_mean": TileLoad.max_over_mean(tiles.noisy_ps, held),
        "tile_load_max_over_mean_calibrated": TileLoad.max_over_mean(tiles.calibrated_ps, held),
        "tile_load_max_over_mean_round_robin": TileLoad.max_over_mean(tiles.round_robin_ps, held),
        "prefill_tokens_per_s": rate * 3,
        "ttft_p50_us": percentile(us["prefill", "noisy"], 50),
        **_batch_cells(1, us, energy),
        **_batch_cells(8, us, energy),
        "latency_batch": 8,
        "latency_p50_us": percentile(b8, 50),
        "latency_p50_us_calibrated": percentile(b8c, 50),
        "latency_p99_us": percentile(b8, 99),
        "latency_p99_us_calibrated": percentile(b8c, 99),
        "tokens_per_s": rate,
        "tokens_per_s_calibrated": rate * 1.03,
        "network_model": "packet level, within 4 %",
        "latency_mean_us": 80.0,
        **dict.fromkeys((f"latency_{p}_us" for p in LATENCY_PARTS if p != "noc"), 10.0),
        "latency_noc_us": 20.0,
        "makespan_us": tokens / rate * 1e6,
        "critical_resource": ("tile 3", "digital units", "noc link 2-3")[node > 22 or 0],
        "critical_resource_utilisation": 0.81,
        "energy_per_token_nj": total,
        "energy_per_token_nj_calibrated": _sum(energy, None, calibrated=True, phase="decode_b8"),
        "energy_dynamic_per_token_nj": parts["dynamic"],
        "energy_leakage_per_token_nj": parts["leakage"],
        "energy_off_chip_per_token_nj": parts["off_chip"],
        "prefill_energy_per_token_nj": _sum(energy, None, calibrated=False, phase="prefill"),
        **{f"energy_top{i + 1}_name": r["component"] for i, r in enumerate(top)},
        **{
            f"energy_top{i + 1}_share": float(r["energy_per_token_nj"]) / total
            for i, r in enumerate(top)
        },
        "macs_per_token": MACS,
        "tops_per_w": 2 * MACS / (1000 * total),
        "avg_power_w": power,
        "peak_power_w": 2.1 * power,
        "leakage_coverage": 0.6,
        "area_mm2": area,
        "tokens_per_s_per_mm2": rate / area,
        "power_density_w_per_mm2": power / area,
        "chips": 1,
        "dies": 1,
        "chip_link_bytes_per_token": 0.0,
        "io_bytes_per_token": 260.0,
        "tier_switches_per_token": 0.0,
        "tiles": len(held),
        "cell_utilisation": 0.71,
        "expert_switch_bytes": 1_234_567 if "switching" in name else 0,
        "expert_switch_energy_nj": 456.7 if "switching" in name else 0.0,
        "expert_switches": 99 if "switching" in name else 0,
        "expert_switches_per_token": 99 / tokens if "switching" in name else 0.0,
        "expert_switch_bytes_per_s": 2.5e9 if "switching" in name else 0.0,
        "expert_switch_stall_per_token_us": 12.5 if "switching" in name else 0.0,
        "expert_hit_rate": 0.75 if "switching" in name else None,
        "expert_hit_rate_bound": 0.875 if "switching" in name else None,
        "cells_written": 9_876_543 if "switching" in name else 0,
        "expert_slot_writes_max": 7 if "switching" in name else 0,
        "switch_lifetime_s": 10_080.0 if "switching" in name else None,
        "calibration_tokens": 4096 if difficulty else None,
        "calibration_cells_written": 98304 if difficulty else None,
        "calibration_energy_nj": 1.2e5 if difficulty else None,
        "calibration_time_us": 880.0 if difficulty else None,
        "calibration_parts": "before 0.2; digital_terms 0.1" if difficulty else None,
        "calibration_pass_tokens": 6144 if difficulty else None,
        "calibration_all_energy_nj": 3e6 if difficulty else None,
        "calibration_all_time_us": 2.1e4 if difficulty else None,
        "calibration_energy_per_token_nj": 3e-3 if difficulty else None,
        "calibration_time_per_token_us": 2.1e-5 if difficulty else None,
        "calibration_writes_per_token": 98304e-9 if difficulty else None,
        "ppl_calibrated_worst": max(r["ppl_calibrated"] for r in seeds),
        "ppl_calibrated_chips_and_text_low": None,
        "ppl_calibrated_chips_and_text_high": None,
        "yield": 1.0,
        "yield_ci_low": 0.44,
        "yield_ci_high": 1.0,
        "correction_ops_per_token": 49152.0 if difficulty else None,
    }
    for column, value in cells.items():
        if value is None:
            reasons[column] = {
                "adc_bits": "digital crossbars have no ADC",
                "adc_model": "digital crossbars have no ADC",
                "adc_clip_rate": "no conversion was made",
                **dict.fromkeys(
                    ("adc_range", "adc_range_levels", "adc_range_error", "adc_range_least_error"),
                    "nothing is converted",
                ),
                "switch_lifetime_s": "no expert was switched",
                "expert_hit_rate": "the chip holds all experts",
                "expert_hit_rate_bound": "the chip holds all experts",
            }.get(column, reasons.get(column) or _why(column, tokens))
    return results_table().row(cells, reasons)


def _why(column: str, tokens: int) -> str:
    if "p99" in column:
        return f"{tokens} samples, 100 are needed"
    return "the calibrator is identity"


def _batch_cells(batch, us, energy):
    samples = us[f"decode_b{batch}", "noisy"]
    return {
        f"tpot_p50_us_b{batch}": percentile(samples, 50),
        f"tpot_p99_us_b{batch}": percentile(samples, 99),
        f"decode_tokens_per_s_b{batch}": batch * 1e6 / float(samples.mean()),
        f"decode_energy_per_token_nj_b{batch}": _sum(
            energy, None, calibrated=False, phase=f"decode_b{batch}"
        ),
    }


def _layers(name: str, model: str, experts: ExpertLoad, analog: bool) -> tuple[Row, ...]:
    rows = []
    for layer in range(5):
        moe = layer < 4
        reasons = {} if analog else dict.fromkeys(("conversions_per_token", "adc_clip_rate"), "x")
        cells: dict[str, object] = {
            "config": name,
            "model": model,
            "layer": layer,
            "block": "moe" if moe else "head",
            "experts": 64 if moe else 0,
            "top_k": 8 if moe else 0,
            "macs_per_token": 1.2e6,
            "crossbars": 900 if moe else 0,
            "cells": 6_000_000 if moe else 0,
            "conversions_per_token": 2e5 if analog else None,
            "adc_clip_rate": 0.002 * (layer + 1) if analog else None,
        }
        per_layer = {
            "topk_agreement": 0.93,
            "topk_agreement_calibrated": 0.96,
            "expert_load_cv_clean": load_cv(experts.clean)[layer % 4],
            "expert_load_cv": load_cv(experts.noisy)[layer % 4],
            "expert_load_cv_calibrated": load_cv(experts.calibrated)[layer % 4],
            "expert_load_gini": gini(experts.noisy)[layer % 4],
            "expert_load_gini_calibrated": gini(experts.calibrated)[layer % 4],
            "expert_load_shift": 0.05,
            "expert_load_shift_calibrated": 0.03,
        }
        if not moe:
            reasons |= dict.fromkeys(per_layer, "the head has no router")
            per_layer = dict.fromkeys(per_layer)
        rows.append(PER_LAYER.row({**cells, **per_layer}, reasons))
    return tuple(rows)


def _resources(name: str, model: str) -> tuple[Row, ...]:
    """A tile, a unit and two links of a mesh."""
    busy = (
        ("tile", "tile 0", 0, 0, None, 0.5),
        ("digital unit", "digital unit 0", 1, 0, None, 0.9),
        ("link", "link router (0,0) +x", 0, 0, "+x", 0.2),
        ("link", "link router (1,0) -x", 1, 0, "-x", 0.3),
    )
    return tuple(
        RESOURCES.row(
            {
                "config": name, "model": model, "kind": kind, "resource": resource, "chip": 0,
                "x": x, "y": y, "direction": direction, "utilisation": share,
            }
        )
        for kind, resource, x, y, direction, share in busy
    )  # fmt: skip


def _scale(chip, model: str, energy: tuple[Row, ...]) -> tuple[Row, ...]:
    name, device, node, _, _, weight, inputs, adc, _, scale = chip
    rows = []
    for phase, batch, factor in (("prefill", 1, 700.0), ("decode", 1, 1500.0), ("decode", 32, 900),
                                 ("decode_free_memory", 32, 880)):  # fmt: skip
        columns = {
            f"energy_{r['component']}_nj": float(r["energy_per_token_nj"]) * factor
            for r in energy
            if r["phase"] == "decode_b8" and not r["calibrated"] and r["kind"] != "leakage"
        }
        columns["energy_leakage_nj"] = 200.0 * factor * scale
        total = sum(columns.values())
        columns["energy_leakage_tile_buffer_nj"] = 150.0 * factor * scale
        columns["energy_leakage_noc_router_nj"] = 50.0 * factor * scale
        cells = {
            "config": name,
            "model": model,
            "shape": "OLMoE-1B-7B",
            "phase": phase,
            "context": 2048,
            "batch": batch,
            "tokens": 2048,
            "device": device,
            "node_nm": node,
            "weight_bits": weight,
            "input_bits": inputs,
            "adc_bits": adc,
            "adc_model": "sar_table" if adc else None,
            "chips": 1,
            "dies": 12,
            "chip_link_bytes_per_token": 0.0,
            "tiles": 4000,
            "area_mm2": 5300.0 * (1 + scale),
            "area_low_mm2": 5000.0 * (1 + scale),
            "area_high_mm2": 5600.0 * (1 + scale),
            "power_w": 31.0 * (1 + scale),
            "tokens_per_s": 9000.0 * batch**0.7 / (0.5 + scale),
            "latency_us": 900.0 * (0.5 + scale),
            "latency_low_us": 850.0 * (0.5 + scale),
            "latency_high_us": 950.0 * (0.5 + scale),
            "energy_per_token_low_nj": 0.8 * total,
            "energy_per_token_high_nj": 1.3 * total,
            "latency_error_us": None if phase == "prefill" else 9.0 * (0.5 + scale),
            "never_sleeping": "4,000 tile_buffer (clock_gated); 1,000 noc_router (clock_gated)",
            "macs_per_token": 1.35e9,
            "tops_per_w": 2 * 1.35e9 / (1000 * total),
            "energy_per_token_nj": total,
            "energy_off_chip_per_token_nj": sum(
                columns[f"energy_{c}_nj"] for c in ("kv_dram", "dram", "io")
            ),
            "critical_resource": "digital units",
            "critical_resource_utilisation": 0.93,
        }
        absent = {c.name: None for c in SCALE.columns if c.name not in cells}
        rows.append(SCALE.row({**absent, **columns, **cells}))
    return tuple(rows)


def _peak(chip, model: str) -> tuple[Row, ...]:
    name, _, node, _, _, weight, inputs, *_ = chip
    return tuple(
        PEAK.row(
            {
                "config": name,
                "model": model,
                "form": form,
                "preset": name if form == AS_RUN else f"{name}_peak",
                "node_nm": node,
                "weight_bits": weight * factor,
                "input_bits": inputs * factor,
                "tiles": 40 * factor,
                "peak_tops": 39.3 * factor,
                "input_bit_density": 0.31,
                "mean_level_fraction": 0.28,
                "density_origin": "measured" if form == AS_RUN else "default",
                "peak_tops_per_w": 2.8 / factor,
                "peak_tops_per_mm2": 0.9 / factor,
                "peak_total_w": 14.0 * factor,
                "peak_leakage_w": 0.5,
                "peak_off_chip_w": 0.0,
                "peak_area_mm2": 42.0 * factor,
                "peak_w_per_mm2": 14.0 / 42.0,
                "peak_cooling": "air",
                "excluded": "nothing" if form == AS_RUN else "clock, noc_link",
            }
        )
        for form, factor in ((AS_RUN, 1), (AS_PUBLISHED, 2))[: 2 if name == "isaac" else 1]
    )


def _activity(rng: np.random.Generator, tiles: int, n: int = 3000) -> Activity:
    """One visit after the other on every tile, of four units."""
    start = np.sort(rng.integers(0, 5_000_000, n)) * 1000
    columns = (
        np.arange(n) % tiles, rng.integers(0, 4, n), np.zeros(n), start,
        start + rng.integers(100, 200, n), rng.integers(0, 2, n), np.full(n, -1),
        rng.integers(1, 64, n), np.arange(n),
    )  # fmt: skip
    end = int(start.max()) + 1_000_000
    return Activity(
        phase="decode_b8",
        chips=1,
        tracks=tuple(Track(0, f"tile {t}") for t in range(tiles)),
        names=("0.attention", "0.experts.3", "0.experts.41", "1.shared"),
        slices=np.stack(columns, axis=1).astype(np.int64),
        counters=(),
        total=(n, 0, 0, 0, 0, 0),
        until_ps=end,
        end_ps=end,
    )
