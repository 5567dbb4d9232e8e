"""Closed-form time of a visit: fill + interval x vectors.

Per vector and crossbar, a read happens once per input cycle and row group. One pipeline
stage takes

    step = max(read, convert)   with double-buffered sample-and-hold, else read + convert
    convert = conversions per read and ADC / rate x crossbars that wait for one ADC

and the interval is cycles x row groups x step, with recovery cycles, which always run, among the
cycles. The first result leaves two stages after its last read (sample and convert, then
shift-and-add), which gives ISAAC's 18 of 22 cycles and PUMA's 2,304 ns = (16 + 2) x 128 ns.

A PE deals its ADCs to its crossbars evenly. Where it has fewer ADCs than crossbars, the
crossbars of one PE that a visit reads wait for each other, those of its later stages included:
vectors follow each other, so all stages read at once. Crossbars of different PEs never wait.
Which neighbours share an ADC is not looked at: those that a visit has in a PE are taken to
share as few ADCs as they could. Visits to one PE come one after the other (`engine.sites`).

What conversions add is the difference to the same visit with converters that take no time; a
published stage interval is not taken apart, and is exceeded where the ADCs need longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from cimsim.chip import Tiling, Unit
from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig
from cimsim.cost.input_scale import scaler_ps
from cimsim.cost.tree_registers import pipelined_ps
from cimsim.units import period_ps, ps_from_ns

__all__ = ["VisitTiming", "crossbars_an_adc", "pipeline_depth", "read_ps", "visit_timing"]


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


def crossbars_an_adc(config: ChipConfig, in_pe: int) -> int:
    """Return how many crossbars wait for one ADC.

    Args:
        config: the chip.
        in_pe: crossbars of one PE that are read at the same time.
    """
    return min(ceil(config.tile.pe.crossbars / config.tile.adc.per_pe), in_pe)


def convert_ps(config: ChipConfig, conversions: int, sharing: int) -> int:
    """Return the time in which the ADCs of a PE convert one read.

    Args:
        config: the chip.
        conversions: ADC samples of one read of one crossbar.
        sharing: crossbars that wait for one ADC (`crossbars_an_adc`).
    """
    own = max(1, config.tile.adc.per_pe // config.tile.pe.crossbars)
    samples = ceil(conversions / own) * sharing
    return ps_from_ns(samples / config.tile.adc.rate_gsps)


def stage_ps(config: ChipConfig, conversions: int, sharing: int) -> int:
    """Return the time of one pipeline stage of a crossbar: of a read and its conversions.

    A read covers all input cycles of a vector where charge accumulates over them.

    Args:
        config: the chip.
        conversions: ADC samples of one read of one crossbar; 0 take no time.
        sharing: crossbars that wait for one ADC.
    """
    convert = convert_ps(config, conversions, sharing)
    if config.cost.stage_interval_ns is not None:
        return max(ps_from_ns(config.cost.stage_interval_ns), convert)
    layout = column_layout(config.tile)
    read = read_ps(config) * (layout.cycles // layout.reads)
    if config.tile.pe.sample_hold == "double":
        return max(read, convert)
    return read + convert


def matrix_timing(
    config: ChipConfig, tiling: Tiling, sharing: int, *, converted: bool = True
) -> VisitTiming:
    """Return fill and interval of one matrix.

    Args:
        config: the chip.
        tiling: how the matrix is cut.
        sharing: crossbars that wait for one ADC.
        converted: False takes conversions to need no time.
    """
    clock = period_ps(config.technology.clock_ghz)
    # Row blocks are added in a tree, one clock per level.
    reduce_ps = ceil(log2(len(tiling.row_blocks))) * clock
    if _is_digital(config):
        published = config.cost.stage_interval_ns
        step = pipelined_ps(config, read_ps(config)) if published is None else ps_from_ns(published)
        drain = config.cost.tree_registers * step
        return VisitTiming(clock + reduce_ps + drain, _reads(tiling) * step)
    step = stage_ps(config, _conversions(tiling) * converted, sharing)
    drain = 2 * step if config.tile.pe.sample_hold == "double" else clock
    return VisitTiming(drain + reduce_ps, _reads(tiling) * step)


def _is_digital(config: ChipConfig) -> bool:
    return config.tile.crossbar.kind == "digital"


def _reads(tiling: Tiling) -> int:
    """Return reads of one vector of the slowest row block."""
    return max(tiling.reads_per_vector(r) for r in range(len(tiling.row_blocks)))


def _conversions(tiling: Tiling) -> int:
    """Return ADC samples of one read of the widest column block."""
    return max(tiling.conversions_per_read(c) for c in range(len(tiling.column_blocks)))


def visit_timing(config: ChipConfig, unit: Unit, in_pe: int | None = None) -> VisitTiming:
    """Return fill and interval of a unit.

    Matrices that share an input (gate and up; q, k and v) run in parallel; their results
    feed the next (down) after one clock of activation, which streams behind the
    shift-and-add, and after the tile's scaler, if that is charged (`input_scale`). The stages
    form a pipeline: the interval is the slowest matrix's, or that of an ADC which several stages
    share, or of the scaler; the latency of one vector is the sum over stages.

    Args:
        config: the chip.
        unit: matrices that a vector visits.
        in_pe: most crossbars of the unit in one PE; None takes them to fill one PE after the
            other.
    """
    sharing = 1
    if not _is_digital(config):
        sharing = crossbars_an_adc(config, unit.crossbars if in_pe is None else in_pe)
    whole = _unit_timing(config, unit, sharing, converted=True)
    instant = _unit_timing(config, unit, sharing, converted=False)
    return VisitTiming(
        whole.fill_ps,
        whole.interval_ps,
        whole.fill_ps - instant.fill_ps,
        whole.interval_ps - instant.interval_ps,
    )


def _unit_timing(config: ChipConfig, unit: Unit, sharing: int, *, converted: bool) -> VisitTiming:
    clock = period_ps(config.technology.clock_ghz)
    latency = interval = 0
    stages = _stages(unit)
    for i, stage in enumerate(stages):
        waiting = min(sharing, sum(t.crossbars for t in stage))
        times = [matrix_timing(config, t, waiting, converted=converted) for t in stage]
        latency += max(t.latency_ps for t in times)
        interval = max(interval, *(t.interval_ps for t in times))
        if i:
            scaled_ps, each_ps = scaler_ps(config, stage[0].matrix.n_in)
            latency += clock + scaled_ps
            interval = max(interval, each_ps)
    if converted and sharing > 1 and len(stages) > 1:
        interval = max(interval, _shared_adc_ps(config, unit, sharing))
    return VisitTiming(latency - interval, interval)


def _shared_adc_ps(config: ChipConfig, unit: Unit, sharing: int) -> int:
    """Return the interval of an ADC that converts for crossbars of several stages.

    They are the crossbars with most conversions per vector. Without double-buffered
    sample-and-hold the ADC waits for the longest of their reads.
    """
    samples: list[int] = []
    read = 0
    for tiling in unit.tilings:
        reads = _reads(tiling)
        samples += [reads * _conversions(tiling)] * min(sharing, tiling.crossbars)
        read = max(read, reads * stage_ps(config, 0, sharing))
    if config.tile.pe.sample_hold == "double" or config.cost.stage_interval_ns is not None:
        read = 0
    most = sum(sorted(samples, reverse=True)[:sharing])
    return read + ps_from_ns(most / config.tile.adc.rate_gsps)


def pipeline_depth(tiling: Tiling) -> int:
    """Return stages from tile buffer to tile buffer for one vector of one matrix.

    Buffer read; one stage per read; sample and convert; shift-and-add; output register and
    merge in the tile; activation; buffer write. ISAAC counts 22 for 16 input bits.
    """
    return 1 + _reads(tiling) + 1 + 1 + 1 + 1 + 1


def _stages(unit: Unit) -> list[list[Tiling]]:
    """Group a unit's matrices: those after an activation come in a stage of their own."""
    first = [t for t in unit.tilings if not _is_second(t)]
    second = [t for t in unit.tilings if _is_second(t)]
    return [s for s in (first, second) if s]


def _is_second(tiling: Tiling) -> bool:
    return tiling.matrix.id.role.endswith("down")
