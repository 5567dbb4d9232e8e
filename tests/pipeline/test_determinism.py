"""Same chip and seed, same bytes: whatever threads, engine, repetition; another seed differs."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import pytest
from conftest import Runner
from signature import outcome_of, tables_of

NOISY = ("tile.device.sigma=0.05", "tile.device.read_noise={sigma: 0.1, sigma_unit: cell_level}")
CHIPS = ("isaac", "eflash_40nm", "sram_digital_28nm")


@pytest.fixture
def _all_threads() -> Iterator[None]:
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


def noise_of(chip: str) -> tuple[str, ...]:
    return NOISY if chip == "isaac" else ()


@pytest.mark.parametrize("chip", CHIPS)
def test_a_run_repeats_to_the_byte(chip: str, run_tiny: Runner) -> None:
    assert tables_of(run_tiny(chip, *noise_of(chip))) == tables_of(run_tiny(chip, *noise_of(chip)))


@pytest.mark.usefixtures("_all_threads")
@pytest.mark.parametrize("chip", CHIPS)
def test_threads_change_no_byte(chip: str, run_tiny: Runner) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one core")
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        results.append(tables_of(run_tiny(chip, *noise_of(chip))))
    assert results[0] == results[1]


@pytest.mark.parametrize("chip", ["isaac", "sram_digital_28nm"])
def test_engines_agree_to_the_byte(chip: str, run_tiny: Runner) -> None:
    reference, compiled = (run_tiny(chip, f"run.engine={name}") for name in ("simpy", "compiled"))
    assert outcome_of(reference) == outcome_of(compiled)


def test_another_seed_changes_read_noise(run_tiny: Runner) -> None:
    one, two = (run_tiny("isaac", *NOISY, f"run.seed={seed}") for seed in (0, 1))
    assert one.row["ppl_noisy_mean"] != two.row["ppl_noisy_mean"]
    assert one.row["ppl_float"] == two.row["ppl_float"]


def test_more_chip_seeds_leave_the_first_ones_as_they_are(run_tiny: Runner) -> None:
    few, many = (run_tiny("isaac", *NOISY, f"run.chip_seeds={n}") for n in (1, 3))
    assert many.per_seed[:1] == few.per_seed
