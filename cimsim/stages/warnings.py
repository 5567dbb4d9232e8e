"""What a reader of a run must know before anything else, a sentence each."""

from __future__ import annotations

from cimsim.engine.network_choice import network_without_effect
from cimsim.mac import knobs_without_effect, unpaid_writes, unused_range
from cimsim.model.text import perplexity
from cimsim.stages.coupling import coupling_without_effect
from cimsim.stages.diagnosis import range_warning
from cimsim.stages.dies import DIE_LIMIT_MM2
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.scale import left_out
from cimsim.stages.wear import wear_warning

__all__ = ["run_warnings"]

CLIP_WARNING = 1e-2  # share of clipped conversions that a report warns of


def run_warnings(measured: ChipMeasurement) -> tuple[str, ...]:
    """Return the warnings about one chip and model."""
    chip = measured.chip.config
    found = [*knobs_without_effect(chip), *unpaid_writes(chip), *unused_range(chip)]
    found += range_warning(measured.accuracy.ranges, chip.tile.adc.range.kind)
    clip = measured.clip_rate
    if clip is not None and clip > CLIP_WARNING:
        found.append(
            f"{100 * clip:.2g} % of conversions are clipped: widen tile.adc.range or add bits"
        )
    found += coupling_without_effect(chip, measured.chip.placement)
    phases = (*measured.before.phases, *measured.after.phases)
    found += left_out(chip)
    found += network_without_effect(chip, tuple(p.result.network for p in phases))
    found += _decode_numbers(measured)
    found += _large_die(measured)
    cautions = [
        f"in {phase.name.replace('_b', ', batch ')}, {caution}"
        for phase in measured.before.phases
        for caution in phase.result.cautions
    ]
    if cautions:
        found.append(". ".join(cautions))
    return (*found, *wear_warning(chip, measured.main))


def _large_die(measured: ChipMeasurement) -> tuple[str, ...]:
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


def _decode_numbers(measured: ChipMeasurement) -> tuple[str, ...]:
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
