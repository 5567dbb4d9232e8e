"""What cannot change a cell changes no number: neither where a matrix sits nor what reads it."""

from __future__ import annotations

from conftest import Runner

from cimsim.results import ChipResult

# Trace mode with cells, converters and reads that all err.
NOISY = (
    "tile.device.sigma=0.05", "tile.device.stuck_low=0.001",
    "tile.device.read_noise={sigma: 0.05}", "run.coupling=trace", "run.chip_seeds=2",
    "calibration.method=identity",
)  # fmt: skip
CONVERTERS = ("tile.adc.offset_lsb=0.3", "tile.adc.gain_sigma=0.01")


def perplexities(result: ChipResult) -> list[object]:
    return [row["ppl_noisy"] for row in result.per_seed]


def test_placement_moves_no_number(run_tiny: Runner) -> None:
    base = (*NOISY, *CONVERTERS, "mapping.replicas=false", "tile.pes=1")
    first = run_tiny("isaac", *base)
    for change in (
        "mapping.policy=round_robin", "mapping.policy=lpt", "tile.pes=3", "chip.tiles=60",
        "noc.kind=mesh",
    ):  # fmt: skip
        other = run_tiny("isaac", *base, change)
        assert perplexities(first) == perplexities(other), change
        assert _time(first) != _time(other), change


def _time(result: ChipResult) -> tuple[object, list[int]]:
    return result.row["latency_p50_us"], result.tile_load.noisy_ps.tolist()


def test_converters_without_errors_move_no_number_whatever_their_count(run_tiny: Runner) -> None:
    found = [perplexities(run_tiny("isaac", *NOISY, f"tile.adc.per_pe={n}")) for n in (1, 2, 8)]
    assert found[0] == found[1] == found[2]


def test_read_noise_and_cells_of_two_chips_differ(run_tiny: Runner) -> None:
    first, second = perplexities(run_tiny("isaac", *NOISY))
    assert first != second
