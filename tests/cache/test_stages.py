"""Stages of a run: found again where nothing that they read differs, computed where it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_model import SMALL

from cimsim.cache import StageCache, Store
from cimsim.cache.stages import Watched
from cimsim.config.load import find_chip, load_chip
from cimsim.pipeline import run_chip
from cimsim.stages.kept import KEPT
from cimsim.stages.models import read_text
from cimsim.stages.opened import Opened

ACCURACY = {"clean", "ranges", "ideal", "noisy", "calibrated", "unigram"}
# What must recompute no accuracy: the network, converters that are shared, memory, spare room,
# costs and clocks.
NO_ACCURACY = (
    "noc.flit_bits=64",
    "noc.concentration=1",
    "noc.router_cycles=5",
    "tile.adc.per_pe=16",
    "tile.adc.rate_gsps=0.7",
    "memory.channels=2",
    "memory.channel_gb_per_s=99",
    "chip.spare_fraction=0.2",
    "digital.clock_ghz=0.7",
    "noc.clock_ghz=0.7",
    "tile.buffers.size_kb=4096",
    "digital.macs_per_cycle=64",
    "cost.input_bit_density=0.4",
    "cost.overrides={tile_buffer: {energy_fj: 5, area_um2: 9000, leakage_uw: 20, at_vdd_v: 1.0}}",
    "technology.vdd_v=0.8",
    "technology.typed_at_vdd_v=1.0",
    "cost.leakage_at_vdd_v=1.0",
    "tile.crossbar.sense={kind: clamp, mirrors: 2}",
    "cost.scope=system",
    "workload.in_flight=1",
    "run.decode_batch=[1, 2]",
)
# What must be computed again, and no more.
SOME = {
    # The range that errs least depends on the codes that it is cut into.
    "tile.adc.bits=6": {"ranges", "noisy", "calibrated"},
    "tile.device.sigma=0.1": {"noisy", "calibrated"},
    "calibration.method=identity": {"calibrated"},
    "calibration.accept_mode=deployed": {"calibrated"},
    "calibration.accept_tokens=1024": {"calibrated"},
    "tile.crossbar.rows=16": {"ranges", "ideal", "noisy", "calibrated"},
    "tile.input.bits=4": {"ranges", "ideal", "noisy", "calibrated"},
}


@pytest.fixture(scope="module")
def computed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a chip and returns the stages that were computed."""
    stages = StageCache(Store(tmp_path_factory.mktemp("cache")), KEPT)

    def run(*overrides: str) -> set[str]:
        config = load_chip(find_chip("isaac"), (*SMALL, "run.chip_seeds=1", *overrides))
        found: set[str] = set()
        recall = Watched.recall

        def noting(self: Watched, stage: str, whole: Any, compute: Any) -> Any:
            return recall(self, stage, whole, lambda: (found.add(stage), compute())[1])

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Watched, "recall", noting)
            patched.setattr("cimsim.stages.first_seed.scale_rows", lambda *_: ())
            run_chip(config, str(tiny_model), read_text(None), opened=Opened(stages))
        return found

    assert run() >= ACCURACY
    assert run() == set()
    return run


@pytest.mark.parametrize("knob", NO_ACCURACY)
def test_time_and_energy_recompute_no_accuracy(knob: str, computed: Any) -> None:
    assert not computed(knob) & ACCURACY


@pytest.mark.parametrize("knob", SOME)
def test_only_what_reads_a_knob_is_computed_again(knob: str, computed: Any) -> None:
    assert computed(knob) & ACCURACY == SOME[knob]
    assert not computed(knob)


def test_spare_crossbars_decide_numbers_only_where_they_hold_copies(computed: Any) -> None:
    computed("mapping.replicas=false")
    assert not computed("mapping.replicas=false", "chip.spare_fraction=0.7") & ACCURACY
    # Copies of experts err apart: with more of them the numbers are others.
    assert computed("chip.spare_fraction=0.7") & ACCURACY == {"noisy", "calibrated"}


def test_converters_that_err_are_read_where_they_matter(computed: Any) -> None:
    err = "tile.adc.offset_lsb=0.5"
    assert computed(err) & ACCURACY == {"noisy", "calibrated"}
    assert computed(err, "tile.adc.per_pe=16") & ACCURACY == {"noisy", "calibrated"}


def test_another_text_or_seed_count_computes_what_is_new(computed: Any) -> None:
    assert computed("run.chip_seeds=2") & ACCURACY == {"noisy", "calibrated"}
    assert computed("workload.tokens=96") >= {"clean", "noisy", "calibrated", "unigram"}
