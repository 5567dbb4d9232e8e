"""Closed-form time of a visit: fill + interval x vectors.

Per vector and crossbar, a read happens once an input cycle and row group. One pipeline
stage takes

    step = max(read, convert)   with double-buffered sample-and-hold, else read + convert
    convert = conversions a read and ADC / rate

and the interval is cycles x row groups x step. The first result leaves two stages after
its last read (sample and convert, then shift-and-add), which gives ISAAC's 18 of 22
cycles and PUMA's 2,304 ns = (16 + 2) x 128 ns.

What conversions add is the difference to the same visit with converters that take no time;
a published stage interval is not taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from cimsim.chip import Tiling, Unit
from cimsim.config import ChipConfig
from cimsim.units import period_ps, ps_from_ns

__all__ = ["VisitTiming", "pipeline_depth", "read_ps", "stage_ps", "visit_timing"]


@dataclass(frozen=True)
class VisitTiming:
    """Closed-form time of a visit of n vectors: fill_ps + n x interval_ps.

    Attributes:
        fill_ps: what the first vector takes beyond one interval.
        interval_ps: between two results.
        adc_fill_ps: what conversions add to the fill; less than 0 where they add more to the
            interval than to the latency of one vector.
        adc_interval_ps: what conversions add to the interval.
    """

    fill_ps: int
    interval_ps: int
    adc_fill_ps: int = 0
    adc_interval_ps: int = 0

    def visit_ps(self, vectors: int) -> int:
        """Return the time of a visit of `vectors` vectors."""
        return self.fill_ps + vectors * self.interval_ps

    @property
    def latency_ps(self) -> int:
        """Time of a visit of one vector."""
        return self.fill_ps + self.interval_ps


def read_ps(config: ChipConfig) -> int:
    """Return the time of one read: settle and sample, and the pulses of a PWM DAC."""
    dac = config.tile.dac
    pulses = (2**dac.bits - 1) * dac.unit_ns if dac.kind == "pwm" else 0.0
    return ps_from_ns(config.tile.crossbar.read_ns + pulses)


def convert_ps(config: ChipConfig, conversions: int, crossbars: int) -> int:
    """Return the time in which the ADCs of a PE convert one read.

    Each crossbar has its own ADCs where there are enough; else an ADC serves several
    crossbars, and those that the same visit reads at once wait for each other.

    Args:
        config: the chip.
        conversions: ADC samples of one read of one crossbar.
        crossbars: crossbars that the visit reads at the same time.
    """
    tile = config.tile
    own, shared = tile.adc.per_pe // tile.pe.crossbars, 1
    if own < 1:
        own, shared = 1, min(ceil(tile.pe.crossbars / tile.adc.per_pe), crossbars)
    samples = ceil(conversions / own) * shared
    return ps_from_ns(samples / tile.adc.rate_gsps)


def stage_ps(config: ChipConfig, conversions: int, crossbars: int) -> int:
    """Return the time of one pipeline stage of a crossbar; 0 conversions take no time."""
    if config.cost.stage_interval_ns is not None:
        return ps_from_ns(config.cost.stage_interval_ns)
    read = read_ps(config)
    if config.tile.crossbar.kind == "digital":
        return read
    convert = convert_ps(config, conversions, crossbars)
    if config.tile.pe.sample_hold == "double":
        return max(read, convert)
    return read + convert


def matrix_timing(
    config: ChipConfig, tiling: Tiling, crossbars: int, *, converted: bool = True
) -> VisitTiming:
    """Return fill and interval of one matrix.

    Args:
        config: the chip.
        tiling: how the matrix is cut.
        crossbars: crossbars that the visit reads at the same time.
        converted: False takes conversions to need no time.
    """
    clock = period_ps(config.technology.clock_ghz)
    conversions = max(tiling.conversions_per_read(c) for c in range(len(tiling.column_blocks)))
    conversions *= converted
    groups, cycles = max(tiling.row_groups), tiling.layout.cycles
    # Row blocks are added in a tree, one clock a level.
    reduce_ps = ceil(log2(len(tiling.row_blocks))) * clock
    if config.tile.crossbar.kind == "digital":
        interval = cycles * groups * stage_ps(config, 0, crossbars)
        return VisitTiming(clock + reduce_ps, interval)
    if config.tile.pe.accumulate_cycles:
        read = cycles * read_ps(config)
        convert = convert_ps(config, conversions, crossbars)
        double = config.tile.pe.sample_hold == "double"
        step = max(read, convert) if double else read + convert
        if config.cost.stage_interval_ns is not None:
            step = ps_from_ns(config.cost.stage_interval_ns)
        reads = groups
    else:
        step = stage_ps(config, conversions, crossbars)
        reads = cycles * groups
        double = config.tile.pe.sample_hold == "double"
    drain = 2 * step if double else clock
    return VisitTiming(drain + reduce_ps, reads * step)


def visit_timing(config: ChipConfig, unit: Unit) -> VisitTiming:
    """Return fill and interval of a unit.

    Matrices that share an input (gate and up; q, k and v) run in parallel; their results
    feed the next (down) after one clock of activation, which streams behind the
    shift-and-add. The stages form a pipeline: the interval is the slowest matrix's, the
    latency of one vector the sum over stages.
    """
    whole = _unit_timing(config, unit, converted=True)
    instant = _unit_timing(config, unit, converted=False)
    return VisitTiming(
        whole.fill_ps,
        whole.interval_ps,
        whole.fill_ps - instant.fill_ps,
        whole.interval_ps - instant.interval_ps,
    )


def _unit_timing(config: ChipConfig, unit: Unit, *, converted: bool) -> VisitTiming:
    clock = period_ps(config.technology.clock_ghz)
    latency = interval = 0
    for i, stage in enumerate(_stages(unit)):
        crossbars = sum(t.crossbars for t in stage)
        times = [matrix_timing(config, t, crossbars, converted=converted) for t in stage]
        latency += max(t.latency_ps for t in times) + (clock if i else 0)
        interval = max(interval, *(t.interval_ps for t in times))
    return VisitTiming(latency - interval, interval)


def pipeline_depth(config: ChipConfig, tiling: Tiling) -> int:
    """Return stages from tile buffer to tile buffer for one vector of one matrix.

    Buffer read; one stage a read; sample and convert; shift-and-add; output register and
    merge in the tile; activation; buffer write. ISAAC counts 22 for 16 input bits.
    """
    reads = tiling.layout.cycles * max(tiling.row_groups)
    if config.tile.pe.accumulate_cycles:
        reads = max(tiling.row_groups)
    return 1 + reads + 1 + 1 + 1 + 1 + 1


def _stages(unit: Unit) -> list[list[Tiling]]:
    """Group a unit's matrices: those after an activation come in a stage of their own."""
    first = [t for t in unit.tilings if not _is_second(t)]
    second = [t for t in unit.tilings if _is_second(t)]
    return [s for s in (first, second) if s]


def _is_second(tiling: Tiling) -> bool:
    return tiling.matrix.id.role.endswith("down")
