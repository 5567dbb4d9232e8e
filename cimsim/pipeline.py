"""READ FIRST: the flow of one run, one call an arrow.

    YAML -> config -> chip graph -> mapping -> +-- functional: noisy MACs, routing --+ -> results
                     model + text -> program --+-- events: time, energy, contention --+

Numbers come first and time replays them (trace mode): that is exact as long as no state of
the chip depends on time. Where it does (noisy experts switched on demand, drift that goes on
while the run lasts, least loaded copies that err apart) the event engine drives the model, and
each visit computes its numbers when it is served (coupled mode, `cimsim.stages.coupled`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cimsim.config import ChipConfig
from cimsim.config.load import dump_yaml
from cimsim.engine.network_choice import inert_network
from cimsim.mac import inert_knobs, unpaid_writes, unused_range
from cimsim.model import Decoder, FloatLinear, build_program
from cimsim.model.text import perplexity
from cimsim.results import ChipResult, TileLoad
from cimsim.stages.accuracy import Accuracy, measure_accuracy
from cimsim.stages.calibration_cost import CalibrationCost, calibration_cost
from cimsim.stages.coupled import CoupledChip, charge_phases
from cimsim.stages.coupling import (
    choose_mode,
    drifts_within,
    inert_coupling,
    refuse_trace,
)
from cimsim.stages.measured import Measured, main_decode
from cimsim.stages.models import (
    Texts,
    calibration_windows,
    open_model,
    scored_windows,
    spread_windows,
)
from cimsim.stages.peaks import peak_rows
from cimsim.stages.placed_chip import PlacedChip, place_chip, tile_load_ps
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.scale import DIE_LIMIT_MM2, left_out, scale_rows
from cimsim.stages.scoring import score_clean
from cimsim.stages.tables import (
    activity,
    all_energy_rows,
    expert_load,
    latency_samples,
    layer_rows,
    resource_rows,
    result_row,
    seed_rows,
)
from cimsim.stages.timing import Timing, densities, longest_ps, time_routing
from cimsim.stages.wear import wear_warning
from cimsim.workload.trace import RoutingTrace

__all__ = ["run_chip"]

# Windows of calibration text from which ADC ranges are taken.
PROFILE_WINDOWS = 4
CLIP_WARNING = 1e-2  # share of clipped conversions that a report warns of


def run_chip(
    config: ChipConfig,
    model: str,
    texts: Texts,
    *,
    name: str | None = None,
    correction: Path | None = None,
    force: bool = False,
    threads: int = 1,
    progress: Callable[[str, float], None] | None = None,
) -> ChipResult:
    """Run one model on one chip: accuracy, time, energy.

    Args:
        config: the chip.
        model: bundled name or checkpoint folder.
        texts: scored and calibration text.
        name: of the result; the chip's by default.
        correction: a saved correction to apply instead of calibrating.
        force: apply a correction that was made for something else.
        threads: chip seeds evaluated at once; changes time only.
        progress: told (stage, share done).

    Raises:
        CimsimError: if chip, model and text do not go together.
        SimulationError: if the simulation cannot finish.
    """
    started = time.monotonic()
    progress = progress or _silent
    # Model and text -> program.
    checkpoint = open_model(model)
    program = build_program(checkpoint)
    decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
    windows = scored_windows(checkpoint, texts, config.workload)
    profile = calibration_windows(
        checkpoint, texts, config.calibration.tokens, config.workload.context
    )[:PROFILE_WINDOWS]

    # Config -> chip graph -> mapping, from the load that the clean model expects.
    progress("placing", 0.0)
    sampled = spread_windows(checkpoint, texts, config.calibration.tokens, config.workload.context)
    expected = score_clean(decoder, digital, sampled).trace
    chip = place_chip(config, program, expected)
    mode = choose_mode(config, chip.placement)

    progress("converter ranges", 0.03)
    ranges = measure_ranges(config, decoder, chip.copies, profile)
    clean = score_clean(decoder, digital, windows)
    load = expected.load()
    together = CoupledChip(chip, decoder, windows, clean.trace, load)

    def measure(coupled: CoupledChip | None) -> tuple[Accuracy, CalibrationCost, Timing, Timing]:
        # Functional path: noisy MACs, routing, calibration.
        accuracy = measure_accuracy(
            config,
            decoder,
            digital,
            chip.copies,
            ranges,
            windows,
            clean,
            texts,
            correction=correction,
            force=force,
            coupled=coupled,
            threads=threads,
            progress=_accuracy_share(progress),
        )
        # Event path: chip seed 0, before and after calibration.
        progress("events", 0.8)
        first = accuracy.seeds[0]
        density = densities(chip, first.statistics)
        chosen = first.calibration.correction
        paid = calibration_cost(chip, chosen)
        sides = (
            (first.noisy, first.phases, None, None),
            (first.calibrated, first.calibrated_phases, paid.work, paid.copies),
        )
        before, after = (
            charge_phases(chip, phases, density, copies)
            if coupled
            else time_routing(chip, score.trace, density, work, copies, load)
            for score, phases, work, copies in sides
        )
        return accuracy, paid, before, after

    accuracy, calibration, before, after = measure(together if mode == "coupled" else None)
    if mode == "trace" and (reason := drifts_within(config, longest_ps(before, after))):
        if config.run.coupling == "trace":
            refuse_trace(reason)
        accuracy, calibration, before, after = measure(together)
    first = accuracy.seeds[0]
    density = densities(chip, first.statistics)

    # Results.
    progress("full-size model", 0.9)
    measured = Measured(
        chip=chip,
        accuracy=accuracy,
        before=before,
        after=after,
        tile_load=_empty_load(chip),
        calibration=calibration,
        tokens=windows.size,
    )
    measured = replace(measured, tile_load=_tile_load(measured, first.noisy.trace))
    return ChipResult(
        name=name or config.name,
        row=result_row(measured),
        config_yaml=dump_yaml(config),
        per_layer=layer_rows(measured),
        per_seed=seed_rows(measured),
        energy=all_energy_rows(measured),
        scale=scale_rows(config, program.name, first.noisy.trace, density),
        peak=peak_rows(config, program.name, chip.mesh, density),
        tile_load=measured.tile_load,
        expert_load=expert_load(measured),
        latency=latency_samples(measured),
        resources=resource_rows(measured),
        activity=activity(measured),
        warnings=(*checkpoint.warnings, *accuracy.warnings, *_warnings(measured)),
        notes=measured.chip.cost.notes,
        not_modelled=measured.chip.cost.not_modelled(),
        seconds=time.monotonic() - started,
    )


def _accuracy_share(progress: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """Return progress of the functional path as a share of the whole run."""
    return lambda stage, share: progress(stage, 0.05 + 0.75 * share)


def _silent(stage: str, share: float) -> None:
    """Report to nobody."""


def _empty_load(chip: PlacedChip) -> TileLoad:
    mesh = chip.mesh
    zero = np.zeros(mesh.n_tiles, dtype=np.int64)
    held = np.zeros(mesh.n_tiles, dtype=np.bool_)
    held[chip.placement.occupied_tiles] = True
    return TileLoad(mesh.tile_places, mesh.tile_cells, held, zero, zero)


def _tile_load(measured: Measured, trace: RoutingTrace) -> TileLoad:
    robin = tile_load_ps(measured.chip, trace, "round_robin")
    return replace(
        measured.tile_load,
        noisy_ps=main_decode(measured, measured.before).result.tile_load_ps,
        calibrated_ps=main_decode(measured, measured.after).result.tile_load_ps,
        round_robin_ps=None if measured.chip.placement.slots else robin,
    )


def _warnings(measured: Measured) -> tuple[str, ...]:
    """Say what a reader must mind before anything else."""
    chip = measured.chip.config
    found = [*inert_knobs(chip), *unpaid_writes(chip), *unused_range(chip)]
    clip = measured.clip_rate
    if clip is not None and clip > CLIP_WARNING:
        found.append(
            f"{100 * clip:.2g} % of conversions are clipped: widen tile.adc.range or add bits"
        )
    found += inert_coupling(measured.chip.config, measured.chip.placement)
    phases = (*measured.before.phases, *measured.after.phases)
    found += left_out(measured.chip.config)
    found += inert_network(measured.chip.config, tuple(p.result.network for p in phases))
    found += _decode_numbers(measured)
    found += _large_die(measured)
    cautions = [
        f"in {phase.name.replace('_b', ', batch ')}, {caution}"
        for phase in measured.before.phases
        for caution in phase.result.cautions
    ]
    if cautions:
        found.append(". ".join(cautions))
    return (*found, *wear_warning(measured.chip.config, main_decode(measured, measured.before)))


def _large_die(measured: Measured) -> tuple[str, ...]:
    """Say when a chip is larger than a reticle."""
    chips = measured.chip.mesh.chips
    area = measured.chip.cost.area_mm2() / chips
    if area <= DIE_LIMIT_MM2:
        return ()
    each = " each" if chips > 1 else ""
    return (
        f"a chip of {area:.4g} mm2{each} exceeds the reticle limit of {DIE_LIMIT_MM2:g} mm2: "
        "it cannot be one die; split it with system.chips",
    )


def _decode_numbers(measured: Measured) -> tuple[str, ...]:
    """Say what decode computed where numbers depend on time: prefill is what is scored."""
    first = measured.accuracy.seeds[0]
    scored = perplexity(first.noisy.nll)
    found = [(p.batch, perplexity(p.score.nll)) for p in first.phases[1:]]
    if all(value == scored for _, value in found):
        return ()
    each = ", ".join(f"{value:.6g} at batch {batch}" for batch, value in found)
    return (
        f"numbers depend on time: chip seed 0 has perplexity {scored:.6g} in prefill, which is "
        f"scored, and in decode {each}",
    )
