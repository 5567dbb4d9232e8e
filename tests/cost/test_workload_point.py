"""Workloads beside peaks, and sweeps of peaks."""

from __future__ import annotations

import json

import pytest

from cimsim.api.peak import peak, peak_sweep
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.stages.full_size import full_size_row
from cimsim.stages.workload_point import SKEW, workload_point
from tests.command_line import run_here

BITS = "tile.input.bits"


def test_a_point_is_the_row_of_a_full_size_model_in_other_figures() -> None:
    knobs = ("workload.shape=resnet20-cifar10", "run.decode_batch=[4]")
    row = full_size_row(load_chip(find_chip("isaac"), knobs), SKEW)
    found = workload_point(load_chip(find_chip("isaac")), "resnet20-cifar10", 4).as_dict()
    assert found["latency_us"] == row["latency_us"]
    assert found["energy_uj"] == pytest.approx(row["energy_per_token_nj"] / 1e3)
    assert found["edp_uj_us"] == pytest.approx(found["energy_uj"] * found["latency_us"])
    assert found["tops_per_w"] == pytest.approx(row["tops_per_w"])
    assert found["tops"] == pytest.approx(2 * 40_551_040 * row["tokens_per_s"] / 1e12)


def test_the_peak_beside_a_workload_is_that_of_the_same_tiles() -> None:
    config = load_chip(find_chip("isaac"))
    point = workload_point(config, "lstm-ptb", 1)
    found = point.as_dict()
    assert point.peak.cost.mesh.n_tiles == found["tiles"]
    assert found["share_of_peak_tops"] == pytest.approx(found["tops"] / point.peak.tops)
    share = found["tops_per_w"] / point.peak.tops_per_w
    assert found["share_of_peak_tops_per_w"] == pytest.approx(share)
    assert 0 < found["share_of_peak_tops"] < 1


def test_operations_on_crossbars_are_set_against_digital_ones() -> None:
    config = load_chip(find_chip("isaac"))
    found = workload_point(config, "mlp-mnist", 1).as_dict()
    # 400 activations; nothing attends.
    assert (found["crossbar_macs"], found["digital_macs"]) == (266_200, 0)
    assert found["digital_elements"] == 400
    assert found["crossbar_to_digital_ops"] == pytest.approx(2 * 266_200 / 400)
    router = load_chip(find_chip("isaac"), ("chip.analog_parts=[attention]",))
    digital = workload_point(router, "mlp-mnist", 1).as_dict()
    assert (digital["crossbar_macs"], digital["digital_macs"]) == (0, 266_200)


def test_a_sweep_of_the_supply_follows_the_published_efficiency() -> None:
    # Jia et al., JSSC 2020: 400 TOPS/W at 0.85 V, 192 at 1.2 V.
    low, high = peak_sweep("sram_analog_65nm_peak", "technology.vdd_v", ["0.85", "1.2"]).reports
    assert low["tops_per_w"] / high["tops_per_w"] == pytest.approx(400 / 192, rel=0.1)
    assert low["tops"] < high["tops"]
    assert [low["value"], high["value"]] == ["0.85", "1.2"]


@pytest.mark.parametrize(
    ("bits", "signed", "published_uj", "factor"),
    [(4, "twos_complement", 105.2, 1.05), (1, "shift", 5.31, 1.7)],
)
def test_the_energy_an_image_is_near_the_published_one(
    bits: int, signed: str, published_uj: float, factor: float
) -> None:
    # Jia et al., JSSC 2020 (abstract): the whole chip on a ten-layer network, 1 and 4 bits.
    knobs = {
        "technology.vdd_v": 0.85,
        "tile.weight.bits": bits,
        "tile.input.bits": bits,
        "tile.input.signed": signed,
    }
    (found,) = peak("sram_analog_65nm_peak", overrides=knobs, shape="cnn10-cifar10").reports
    ratio = found["workload"]["energy_uj"] / published_uj
    assert max(ratio, 1 / ratio) < factor


def test_a_sweep_is_the_peak_at_every_value() -> None:
    swept = peak_sweep("hermes_peak", BITS, ["4", "8"], shape="mlp-mnist").reports
    for report in swept:
        (alone,) = peak(
            "hermes_peak", overrides={BITS: int(report["value"])}, shape="mlp-mnist"
        ).reports
        assert {**alone, "knob": BITS, "value": report["value"]} == report
    assert swept[0]["workload"] != swept[1]["workload"]


def test_the_command_prints_a_workload_and_a_sweep_in_eighty_columns() -> None:
    said = run_here("peak", "hermes_peak", "--shape", "mlp-mnist")
    assert said.returncode == 0, said.stderr
    assert "mlp-mnist, batch 1" in said.stdout
    table = run_here("peak", "hermes_peak", "--sweep", f"{BITS}=4,8", "--shape", "mlp-mnist")
    lines = table.stdout.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["4", "8"]
    assert "uJ us" in lines[-3]
    assert max(map(len, (*lines, *said.stdout.splitlines()))) <= 80
    found = json.loads(run_here("peak", "hermes_peak", "--sweep", f"{BITS}=4,8", "--json").stdout)
    assert [r["value"] for r in found] == ["4", "8"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--sweep", "tile.adc.bits"), "KEY=VALUE"),
        (("--sweep", "tile.adc.bits=4,,6"), "KEY=VALUE"),
        (("--sweep", "tile.adc.bit=4"), "did you mean 'bits'"),
        (("--batch", "4"), "--shape"),
        (("--shape", "resnet-20"), "resnet20-cifar10"),
    ],
)
def test_bad_input_is_refused(words: tuple[str, ...], told: str) -> None:
    done = run_here("peak", "hermes_peak", *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_chip_that_cannot_hold_keys_and_values_is_refused() -> None:
    with pytest.raises(CimsimError, match="keys and values"):
        peak("hermes_peak", overrides={"digital.kv_sram_kb": 0.5}, shape="olmoe-1b-7b")
