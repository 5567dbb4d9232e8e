"""Every component's unit cost against a value computed by hand."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip import build_mesh
from cimsim.config import ChipConfig
from cimsim.cost.buffers import price_bus, price_tile_buffer, sram
from cimsim.cost.catalogue import COMPONENTS, all_constants, price_chip
from cimsim.cost.clock import price_clock
from cimsim.cost.crossbar import cell_read_fj, drive_factor, price_crossbar
from cimsim.cost.dac import drive_fj
from cimsim.cost.density import default_density
from cimsim.cost.digital import digital_ps, element_fj, mac_fj, price_digital
from cimsim.cost.dram import price_dram
from cimsim.cost.noc import price_link, price_router
from cimsim.cost.registers import price_input_register
from cimsim.cost.sample_hold import price_sample_hold
from cimsim.cost.shift_add import price_shift_add
from cimsim.cost.technology import area_factor, energy_factor, nominal_vdd_v, scale_logic
from cimsim.errors import CimsimError
from tests.cost.chips import chip

# e(V) = a V^2 + b V + c at nominal supplies, from the published coefficients.
E32 = 0.9559 * 0.81 - 0.7823 * 0.9 + 0.471  # 0.541209
E65 = 3.755 * 1.21 - 4.398 * 1.1 + 1.975  # 1.68075
E7 = 0.1776 * 0.49 - 0.09097 * 0.7 + 0.02447


def test_energy_factor_is_the_ratio_of_the_published_quadratics() -> None:
    assert energy_factor(65, 32, source_vdd_v=None, target_vdd_v=0.9) == pytest.approx(E32 / E65)
    assert energy_factor(32, 7, source_vdd_v=None, target_vdd_v=0.7) == pytest.approx(E7 / E32)
    assert energy_factor(32, 32, source_vdd_v=None, target_vdd_v=0.9) == pytest.approx(1.0)


def test_energy_between_nodes_is_interpolated_on_log_axes() -> None:
    share = log(40 / 32) / log(45 / 32)
    e45 = 1.103 * 0.81 - 0.362 * 0.9 + 0.2767
    expected = exp((1 - share) * log(E32) + share * log(e45)) / E32
    assert energy_factor(32, 40, source_vdd_v=0.9, target_vdd_v=0.9) == pytest.approx(expected)


def test_area_factor_follows_the_table() -> None:
    assert area_factor(32, 65) == pytest.approx(3.3)
    assert area_factor(65, 7) == pytest.approx(0.13 / 3.3)


def test_nominal_supply_of_a_tabulated_node() -> None:
    assert nominal_vdd_v(65) == pytest.approx(1.1)


@pytest.mark.parametrize(("node", "vdd"), [(180, 1.2), (5, 0.7), (32, 1.8), (32, 0.4)])
def test_scaling_outside_its_table_is_marked(node: float, vdd: float) -> None:
    notes = scale_logic(32, node, vdd).notes
    assert notes
    assert all(n.startswith("extrapolated") for n in notes)


@given(st.floats(3, 180), st.floats(0.31, 3.3))
def test_scaling_is_positive_at_every_node_and_supply(node: float, vdd: float) -> None:
    found = scale_logic(32, node, vdd)
    assert found.energy > 0
    assert found.area > 0


def test_sample_hold_is_the_isaac_capacitor() -> None:
    assert price_sample_hold(chip()).energy_fj == 0.98


def test_shift_add_is_24_of_16_bits() -> None:
    assert price_shift_add(chip()).energy_fj == pytest.approx(21 * 1.5)


def test_register_bit_scales_from_40_nm() -> None:
    factor = scale_logic(40, 32, 0.9).energy
    assert price_input_register(chip()).energy_fj == pytest.approx(9.0 * factor)


def test_resistive_cell_draws_t_g_v2() -> None:
    config = chip(
        tile={
            "crossbar": {"read_ns": 10, "v_read_v": 0.2},
            "device": {"kind": "ideal", "g_max_us": 50, "on_off_ratio": 10},
        }
    )
    # G = 0.4 x 50 = 20 uS; x 0.04 V^2 x 10 ns x 0.5 = 4 fJ.
    assert cell_read_fj(config, 0.5, 0.4) == pytest.approx(4.0)


def test_default_level_includes_the_conductance_of_the_lowest() -> None:
    device = {"kind": "ideal", "g_max_us": 50, "on_off_ratio": 10}
    config = chip(tile={"weight": {"encoding": "offset"}, "device": device})
    # Half-way between 5 and 50 uS is 27.5 uS.
    assert default_density(config).mean_level_fraction == pytest.approx(27.5 / 50)


def test_drive_time_can_be_shorter_than_the_read() -> None:
    tile = {"crossbar": {"read_ns": 100}, "device": {"kind": "ideal"}}
    whole, short = chip(tile=tile), chip(tile=tile, cost={"drive_ns": 1.0})
    assert cell_read_fj(whole, 0.5, 0.5) == pytest.approx(100 * cell_read_fj(short, 0.5, 0.5))


def test_driving_for_longer_than_the_read_is_refused() -> None:
    with pytest.raises(CimsimError) as caught:
        price_chip(chip(tile={"crossbar": {"read_ns": 10}}, cost={"drive_ns": 11}), 5)
    assert caught.value.key == "cost.drive_ns"


def test_pulse_inputs_draw_for_the_length_of_the_pulse() -> None:
    config = chip(
        tile={
            "crossbar": {"v_read_v": 0.2},
            "dac": {"kind": "pwm", "bits": 4, "unit_ns": 2.0},
            "input": {"signed": "shift"},
            "device": {"kind": "ideal", "g_max_us": 10},
        }
    )
    # 15 units of 2 ns, mean code half: 10 uS x 0.04 x 30 x 0.5 = 6 fJ at the top level.
    assert cell_read_fj(config, 0.5, 1.0) == pytest.approx(6.0)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_level_drive_factor_is_the_mean_square_code(bits: int) -> None:
    config = chip(tile={"dac": {"bits": bits}, "input": {"signed": "shift"}})
    top = 2**bits - 1
    expected = sum((c / top) ** 2 for c in range(top + 1)) / (top + 1)
    assert drive_factor(config, 0.5) == pytest.approx(expected)


def test_charge_domain_cell_switches_c_v2() -> None:
    config = chip(
        tile={
            "crossbar": {"v_read_v": 0.8},
            "device": {"kind": "ideal", "technology": "sram", "cell_bits": 1},
        },
        cost={"cell_cap_ff": 2.0},
    )
    assert cell_read_fj(config, 0.5, 0.5) == pytest.approx(2.0 * 0.64 * 0.25)


def digital_chip(**cost: object) -> ChipConfig:
    return chip(
        technology={"node_nm": 28, "vdd_v": 0.9},
        tile={
            "crossbar": {"kind": "digital", "rows": 32, "cols": 48},
            "weight": {"bits": 8, "encoding": "offset"},
            "dac": {"bits": 1},
            "device": {"kind": "ideal", "technology": "sram", "cell_bits": 1},
        },
        cost=cost,
    )


def test_digital_crossbar_counts_its_gates() -> None:
    # One-bit inputs: 274 full adders a tree, 256 products, a 21-bit accumulator.
    full, half = 4.2, 2.1
    adder = 0.5 * (0.5 * full + 0.5 * half)
    fj = 0.5 * 0.7 * 256 * 0.5 + 274 * adder + 21 * (full + 2.1) * 0.5
    scale = scale_logic(28, 28, 0.9).energy
    assert cell_read_fj(digital_chip(), 0.5, 0.5) == pytest.approx(fj * 0.81 * scale / 32)


def test_measured_digital_energy_replaces_the_gate_model() -> None:
    config = digital_chip(digital_bit_fj=2.0, digital_row_fj=5.0)
    assert cell_read_fj(config, 0.3, 0.9) == pytest.approx(2.0 * 8 + 5.0)


@pytest.mark.parametrize(
    ("encoding", "cell_bits", "level"),
    [
        ("offset", 2, 0.5),
        ("isaac", 2, 0.5),
        ("center", 4, 0.5),
        ("differential", 2, 0.25),
        ("differential", 7, 0.1),
    ],
)
def test_default_densities_are_documented_and_marked(
    encoding: str, cell_bits: int, level: float
) -> None:
    config = chip(
        tile={"weight": {"encoding": encoding}, "device": {"kind": "ideal", "cell_bits": cell_bits}}
    )
    density = default_density(config)
    assert (density.input_bit_density, density.mean_level_fraction) == (0.5, level)
    assert density.origin == "default"


def test_one_bit_row_driver_charges_its_line() -> None:
    config = chip(tile={"crossbar": {"cols": 128, "v_read_v": 0.2}})
    pitch = (12 * 0.032**2) ** 0.5
    line = 128 * (0.35 * 32 / 28 + 0.2 * pitch) * 0.04
    assert drive_fj(config, 0.5) == pytest.approx(0.5 * line)


def test_crossbar_area_is_cells_times_f2() -> None:
    area = price_crossbar(chip()).area_um2
    assert area == pytest.approx(128 * 128 * 12 * 0.032**2)


def test_sram_fit_by_hand_at_64_kb() -> None:
    found = sram(64, 32, 0.9)
    assert found.read_fj == pytest.approx(exp(2.782 + 0.3414 * 6))
    assert found.access_ns == pytest.approx(exp(-0.5553 + 0.0658 * 6 + 0.0113 * 36))
    assert sram(64, 22, 0.8).read_fj / found.read_fj == pytest.approx(exp(-0.787))


def test_sram_beyond_a_megabyte_is_banked() -> None:
    one, four = sram(1024, 32, 0.9), sram(4096, 32, 0.9)
    assert four.read_fj == one.read_fj
    assert four.area_um2 == pytest.approx(4 * one.area_um2)


def test_sram_outside_the_cacti_nodes_is_marked() -> None:
    assert any(n.startswith("extrapolated") for n in sram(64, 7, 0.7).notes)
    inside = sram(64, 28, 0.9).notes
    assert inside == ("extrapolated: SRAM leakage of 32 nm used at 28 nm",)
    assert not sram(64, 32, 0.9).notes


def test_edram_bit_is_a_puma_access_over_its_width() -> None:
    config = chip(tile={"buffers": {"kind": "edram", "size_kb": 64}})
    price = price_tile_buffer(config, write=False)
    assert price.energy_fj == pytest.approx(17.2e3 / 256)
    assert price.leakage_uw == pytest.approx(460)


def test_bus_bit_and_area() -> None:
    price = price_bus(chip(tile={"buffers": {"bus_bits": 384}}))
    assert price.energy_fj == pytest.approx(54)
    assert price.area_um2 == pytest.approx(0.090e6)


def test_router_and_link() -> None:
    config = chip(noc={"kind": "cmesh", "concentration": 4, "router_pj_per_bit": 0.1})
    assert build_mesh(config, 1).network.router_ports == 8
    price = price_router(config, 8)
    assert price.energy_fj == pytest.approx(100)
    assert price.area_um2 == pytest.approx(0.116e6)
    assert price.leakage_uw == pytest.approx(1040)
    assert price_link(config, 0.5).energy_fj == pytest.approx(0.12e3 * 0.5)


def test_mac_energy_follows_operand_bits() -> None:
    config = chip(technology={"node_nm": 28, "vdd_v": 0.9}, tile={"weight": {"bits": 4}})
    scale = scale_logic(28, 28, 0.9).energy
    assert mac_fj(config, "linear") == pytest.approx(200 * 0.5 * scale)
    assert mac_fj(config, "attention") == pytest.approx(200 * 4 * scale)


def test_mac_energy_meets_both_published_nodes() -> None:
    for node, fj in ((28, 200), (7, 84)):
        config = chip(technology={"node_nm": node, "vdd_v": nominal_vdd_v(node)})
        assert mac_fj(config, "linear") == pytest.approx(fj)
    middle = chip(technology={"node_nm": 14, "vdd_v": 0.8})
    assert mac_fj(middle, "linear") == pytest.approx((200 * 84) ** 0.5)


def test_softmax_element_by_hand() -> None:
    at28, at32, at40 = (scale_logic(n, 32, 0.9).energy for n in (28, 32, 40))
    expected = 800 * at28 + (2 * 210 + 29) * at40 + 260 / 1.2 * at32
    assert element_fj(chip(), "softmax") == pytest.approx(expected)


def test_digital_time_is_macs_then_elements() -> None:
    config = chip(digital={"macs_per_cycle": 100, "lanes": 10, "clock_ghz": 0.5})
    assert digital_ps(config, 250, 11) == (3 + 2) * 2000


def test_digital_unit_area_by_hand() -> None:
    config = chip(
        technology={"node_nm": 32, "vdd_v": 0.9}, digital={"macs_per_cycle": 2, "lanes": 1}
    )
    at40 = area_factor(40, 32)
    mac = 6350 / 4 + 278
    expected = 2 * mac * at40 + (mac + 278) * at40 + 300
    assert price_digital(config).area_um2 == pytest.approx(expected)


@pytest.mark.parametrize(("kind", "pj"), [("lpddr4", 8.0), ("hbm2", 3.9), ("hbm3", 4.05)])
def test_dram_bit(kind: str, pj: float) -> None:
    price = price_dram(chip(memory={"kind": kind}))
    assert price is not None
    assert price.energy_fj == pytest.approx(pj * 1e3)


def test_no_memory_has_no_price() -> None:
    assert price_dram(chip(memory={"kind": "none"})) is None


def test_clock_cycle_charges_a_tile_pitch_of_wire() -> None:
    assert price_clock(chip(), 0.5).energy_fj == pytest.approx(200 * 0.5 * 0.81)


def test_every_constant_is_named_once_and_sourced() -> None:
    constants = all_constants()
    keys = [c.key for c in constants]
    assert len(keys) == len(set(keys))
    assert all(c.source and c.unit and c.confidence in "ABCD" for c in constants)
    assert len(constants) > 40


def test_override_replaces_the_model_and_names_its_source() -> None:
    config = chip(cost={"overrides": {"adc": {"energy_fj": 7, "source": "my chip"}}})
    price = price_chip(config, 5).prices["adc"]
    assert price.energy_fj == 7
    assert "my chip" in price.source


def test_override_measured_at_a_supply_scales_with_its_square() -> None:
    config = chip(
        technology={"vdd_v": 0.6},
        cost={"overrides": {"adc": {"energy_fj": 8, "at_vdd_v": 1.2}}},
    )
    assert price_chip(config, 5).prices["adc"].energy_fj == pytest.approx(2.0)


def test_unknown_component_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(CimsimError) as caught:
        price_chip(chip(cost={"overrides": {"abc_adc": {"energy_fj": 7}}}), 5)
    assert caught.value.key == "cost.overrides.abc_adc"
    with pytest.raises(CimsimError, match="crossbar"):
        price_chip(chip(cost={"exclude": ["crosbar"]}), 5)


def test_override_and_table_of_one_component_are_refused() -> None:
    row = {"power_mw": 1, "area_mm2": 1, "source": "x"}
    with pytest.raises(ValueError, match="keep one"):
        chip(cost={"overrides": {"adc": {"energy_fj": 7}}, "tables": {"adc": row}})


@pytest.mark.parametrize("field", ["energy_fj", "area_um2", "leakage_uw"])
def test_negative_costs_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        chip(cost={"overrides": {"adc": {field: -1.0}}})


def test_every_component_can_be_overridden() -> None:
    for name in COMPONENTS:
        system = {"chips": 2, "io_pj_per_bit": 1.0}  # for chip_link and io
        cost = {"overrides": {name: {"energy_fj": 3.0}}, "scope": "system"}  # for its rest
        # For bit_line, merge and tier_switch.
        tile = {"crossbar": {"sense": {"kind": "clamp"}}, "pe": {"merge": {"kind": "binary"}}}
        tile |= {"tiers": 2}
        cost |= {"input_scale": "charged"}
        config = chip(cost=cost, system=system, tile=tile)
        assert price_chip(config, 5).prices[name].energy_fj == 3.0


def test_sram_below_the_smallest_point_keeps_its_energy_and_shrinks() -> None:
    tiny = sram(1, 32, 0.9)
    assert tiny.read_fj == sram(2, 32, 0.9).read_fj
    assert tiny.area_um2 == pytest.approx(sram(2, 32, 0.9).area_um2 / 2)
    assert tiny.notes
