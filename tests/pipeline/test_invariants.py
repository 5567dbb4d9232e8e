"""What must hold between the numbers of any run: conservation, sums and identities."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from conftest import Runner, tiny_chip
from tiny_model import EXPERTS, LAYERS, TOP_K

from cimsim.results import ChipResult
from cimsim.stages.measured import ChipMeasurement

TOKENS = 128
CHIPS = ("isaac", "eflash_40nm", "sram_digital_28nm", "sram_analog_22nm")


@pytest.mark.parametrize("chip", CHIPS)
def test_energy_rows_of_a_phase_sum_to_the_totals(chip: str, run_tiny: Runner) -> None:
    result = run_tiny(chip)
    for calibrated, suffix in ((False, ""), (True, "_calibrated")):
        rows = [
            r for r in result.energy if r["phase"] == "decode_b4" and r["calibrated"] is calibrated
        ]
        total = fsum(float(r["energy_per_token_nj"]) for r in rows)
        assert total == pytest.approx(result.row[f"energy_per_token_nj{suffix}"], rel=1e-9)
        if suffix:
            continue
        for kind in ("dynamic", "leakage", "off_chip"):
            part = fsum(float(r["energy_per_token_nj"]) for r in rows if r["kind"] == kind)
            assert part == pytest.approx(result.row[f"energy_{kind}_per_token_nj"], rel=1e-9)


@pytest.mark.parametrize("chip", CHIPS)
def test_energy_efficiency_times_energy_is_two_operations_a_mac(
    chip: str, run_tiny: Runner
) -> None:
    row = run_tiny(chip).row
    # TOPS/W = operations a pJ; 1000 pJ a nJ.
    operations = row["tops_per_w"] * row["energy_per_token_nj"] * 1000.0
    assert operations == pytest.approx(2.0 * row["macs_per_token"], rel=1e-12)


def test_macs_of_a_token_are_those_of_active_experts_and_attention(run_tiny: Runner) -> None:
    # q, k, v, o; router; gate, up, down of two experts; scores and values over 8.5 positions
    # on average; tied head over 256 symbols.
    layer = 4 * 32 * 32 + 32 * EXPERTS + TOP_K * 3 * 32 * 16
    attention = 2 * (16 + 1) / 2 * 32
    assert run_tiny("isaac").row["macs_per_token"] == 2 * (layer + attention) + 32 * 256


@pytest.mark.parametrize("chip", [*CHIPS, "sram_switching_28nm"])
def test_every_token_enters_and_leaves_and_visits_its_experts(
    chip: str, run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    small = ("chip.tiles=5", "tile.pes=1") if "switching" in chip else ()
    run_tiny(chip, *small)
    (measured,) = seen
    for timing in (measured.before, measured.after):
        for phase in timing.phases:
            result = phase.result
            assert result.tokens == measured.tokens == TOKENS
            assert len(result.complete_ps) == TOKENS
            log = result.visits
            names = np.array(log.site_names)[log.site]
            experts = log.expert >= 0
            # Every site of an expert (gate and up, down) serves each of its vectors once.
            assert log.vectors[experts].sum() % (TOP_K * TOKENS * LAYERS) == 0
            assert log.vectors[experts].sum() > 0
            assert all(name for name in names)
            assert (log.end_ps >= log.start_ps).all()
            assert log.end_ps.max() <= result.makespan_ps


@pytest.mark.parametrize("chip", CHIPS)
def test_experts_are_chosen_top_k_times_a_token_and_layer(chip: str, run_tiny: Runner) -> None:
    result = run_tiny(chip)
    seeds = int(result.row["chip_seeds"])
    for stage in (
        result.expert_load.clean,
        result.expert_load.noisy,
        result.expert_load.calibrated,
    ):
        assert stage.shape == (LAYERS, EXPERTS)
        assert (stage.sum(axis=1) == TOP_K * TOKENS * seeds).all()


@pytest.mark.parametrize("chip", ["isaac", "eflash_40nm", "sram_analog_22nm"])
def test_tiles_convert_as_often_as_the_ledger_charges(
    chip: str, run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    run_tiny(chip, "run.chip_seeds=1", "run.decode_batch=[4]")
    (measured,) = seen
    functional = sum(c.conversions for _, c in measured.accuracy.seeds[0].statistics)
    for phase in measured.before.phases:
        charged = fsum(
            r.count for r in phase.ledger if r.component == "adc" and r.kind == "dynamic"
        )
        assert charged == functional


def test_exact_digital_chip_says_ideal_for_every_seed_and_needs_no_calibration(
    run_tiny: Runner,
) -> None:
    result = run_tiny("sram_digital_28nm", "run.chip_seeds=3")
    row = result.row
    ideal = row["ppl_ideal_int"]
    for name in ("noisy_mean", "noisy_ci_low", "noisy_ci_high", "calibrated_mean"):
        assert row[f"ppl_{name}"] == ideal
    assert [r["ppl_noisy"] for r in result.per_seed] == [ideal] * 3
    assert row["calibrator"] == "identity"
    assert row["adc_clip_rate"] is None  # it converts nothing
    assert "adc_clip_rate: no conversion" in row["empty_because"]
    assert row["topk_agreement"] == row["topk_agreement_calibrated"]
    assert row["energy_per_token_nj"] == row["energy_per_token_nj_calibrated"]


def test_noiseless_analog_chip_with_enough_bits_is_the_integer_model(run_tiny: Runner) -> None:
    row = run_tiny("isaac", "tile.device.kind=ideal").row
    assert row["ppl_noisy_mean"] == row["ppl_ideal_int"] == row["ppl_noisy_ci_high"]


def test_noise_moves_perplexity_and_seeds_differ(run_tiny: Runner) -> None:
    result = run_tiny("isaac", "tile.device.sigma=0.1")
    first, second = (r["ppl_noisy"] for r in result.per_seed)
    assert first != second
    assert first != result.row["ppl_ideal_int"]
    assert result.row["topk_agreement"] < 1.0


def test_throughput_obeys_littles_law(run_tiny: Runner, seen: list[ChipMeasurement]) -> None:
    row = run_tiny("isaac").row
    (measured,) = seen
    for phase in measured.before.phases:
        column = f"decode_tokens_per_s_b{phase.batch}"
        rate = row["prefill_tokens_per_s" if phase.name == "prefill" else column]
        result = phase.result
        # In prefill a window is in flight for all of its tokens.
        inside = result.ttft_ps if phase.name == "prefill" else result.latency_ps
        in_flight = rate * len(inside) / result.tokens * inside.mean() * 1e-12
        assert 0.5 * phase.batch < in_flight <= phase.batch * (1 + 1e-9)


def test_accuracy_and_timing_columns_are_always_numbers(run_tiny: Runner) -> None:
    for chip in CHIPS:
        row = run_tiny(chip).row
        for name, value in row.items():
            if name.startswith(("ppl_", "latency_p50", "tokens_per_s", "energy_per", "topk")):
                # The interval over chips and text asks for five chips; see its reason.
                empty_by_contract = name == "ppl_float_calibrated" or "chips_and_text" in name
                assert isinstance(value, int | float) or empty_by_contract, name


def test_columns_of_a_result_are_the_promised_ones(run_tiny: Runner) -> None:
    result: ChipResult = run_tiny("isaac", "run.decode_batch=[1, 8]")
    promised = """config chip_hash model tokens chip_seeds mapper calibrator tile_mode ppl_float
    ppl_ideal_int ppl_noisy_mean ppl_noisy_ci_low ppl_noisy_ci_high ppl_calibrated_mean
    ppl_calibrated_ci_low ppl_calibrated_ci_high topk_agreement topk_agreement_calibrated
    expert_load_cv expert_load_cv_calibrated tile_load_max_over_mean latency_p50_us latency_p99_us
    tokens_per_s energy_per_token_nj energy_dynamic_per_token_nj energy_leakage_per_token_nj
    energy_top1_name energy_top1_share energy_top3_name energy_top3_share tops_per_w area_mm2
    tokens_per_s_per_mm2 expert_switch_bytes expert_switch_energy_nj adc_clip_rate
    prefill_tokens_per_s ttft_p50_us tpot_p50_us_b1 tpot_p99_us_b8 decode_tokens_per_s_b1
    decode_energy_per_token_nj_b8 makespan_us cells_written avg_power_w peak_power_w
    power_density_w_per_mm2 dies cell_utilisation leakage_coverage weight_bits input_bits"""
    assert set(promised.split()) <= set(result.row)


def test_tiny_chip_uses_the_given_workload() -> None:
    assert tiny_chip("isaac").workload.tokens == TOKENS


def test_matrices_that_do_not_fold_are_counted_in_a_warning(run_tiny: Runner) -> None:
    inl = run_tiny("isaac", "tile.adc.inl_lsb=0.3", "run.tile_mode=folded")
    (said,) = [w for w in inl.warnings if w.startswith("run.tile_mode")]
    # 4 attention matrices, a router and 8 experts of 3 matrices in each of two layers.
    count, _, total = said.split(":")[1].split()[:3]
    assert count == total
    assert 40 <= int(total) <= 2 * (4 + 1 + 24)  # some experts may see no token
    assert not [w for w in run_tiny("isaac").warnings if "folded" in w]
