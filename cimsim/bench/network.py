"""The packet-level network against the flit level: what a run's latencies are wrong by.

Every phase of a chip's own run of a bundled model (clean routing, no calibration) is timed at both
levels. The clock of the network is the load: halved, links are twice as busy. The table on
`docs/networks.md` is what this gives for every bundled chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.engine import EngineResult
from cimsim.engine.cautions import network_validity
from cimsim.engine.network_choice import flit_obstacle, flit_work
from cimsim.engine.raw import NOC
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.subject import ModelOnText, open_subject
from cimsim.stages.timing import Replay, phase_plan, time_phase
from cimsim.workload.trace import RoutingTrace

__all__ = ["run_network_bench"]

MOST_HOPS = 60_000_000
"""Flits times links of the largest phase: half a minute flit by flit."""


def run_network_bench(
    chips: Sequence[str], clocks: Sequence[float], model: str, sets: Sequence[str] = ()
) -> Iterator[dict[str, object]]:
    """Yield a row a phase that has traffic and that both levels run.

    Args:
        chips: names or files.
        clocks: factors on the clock of a chip's network.
        model: bundled name or checkpoint folder.
        sets: KEY=VALUE each.

    Raises:
        CimsimError: if chip and model do not go together.
    """
    subject: ModelOnText | None = None
    for name in chips:
        config = load_chip(find_chip(name), tuple(sets))
        subject = _subject(model, config, subject)
        for clock in clocks:
            ghz = config.noc.clock_ghz * clock
            noc = config.noc.model_copy(update={"clock_ghz": ghz})
            chip = place_chip(
                config.model_copy(update={"noc": noc}), subject.program, subject.expected
            )
            yield from _rows(chip, subject, clock)


def _subject(model: str, config: ChipConfig, last: ModelOnText | None) -> ModelOnText:
    """Open model and texts of a chip, or keep those of the last one where they are the same."""
    found = open_subject(model, read_text(None), config)
    same = last is not None and all(
        np.array_equal(a, b)
        for a, b in ((found.windows, last.windows), (found.sampled, last.sampled))
    )
    return last if last is not None and same else found


def _rows(chip: PlacedChip, subject: ModelOnText, clock: float) -> Iterator[dict[str, object]]:
    trace = subject.clean.trace
    for phase, batch in phase_plan(chip.config):
        packet = _timed(chip, trace, phase, batch, "packet")
        work = flit_work(packet.raw)
        if not 0 < work <= MOST_HOPS or flit_obstacle(chip.config, packet.plan.transport.shape):
            continue
        flit = _timed(chip, trace, phase, batch, "flit")
        judged = network_validity(packet.plan, packet.raw)
        time_ps = int(packet.parts_ps.sum())
        yield {
            "chip": chip.config.name,
            "phase": phase,
            "clock": clock,
            "flits": round(judged.packet_flits),
            "used": judged.utilisation,
            "share": int(packet.parts_ps[:, NOC].sum()) / time_ps,
            "inside": judged.inside,
            "mean_error": _error(packet.latency_ps.mean(), flit.latency_ps.mean()),
            "p99_error": _error(*(np.quantile(r.latency_ps, 0.99) for r in (packet, flit))),
            "makespan_error": _error(packet.makespan_ps, flit.makespan_ps),
            "million_flit_hops": work / 1e6,
        }


def _timed(
    chip: PlacedChip, trace: RoutingTrace, phase: str, batch: int, level: str
) -> EngineResult:
    noc = chip.config.noc.model_copy(update={"level": level})
    config = chip.config.model_copy(update={"noc": noc})
    at_level = replace(chip, config=config)
    return time_phase(at_level, Replay(trace), None, name=phase, batch=batch).result


def _error(found: float, true: float) -> float:
    return float(found / true - 1)
