"""What a reader of a run's latencies must know: limits of the model, saturation."""

from __future__ import annotations

from cimsim.engine.network_choice import NetworkLevel
from cimsim.engine.noc.packet import BUSY_PS
from cimsim.engine.noc.validity import PacketValidity, judge_packets
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun

__all__ = ["list_cautions", "network_level", "network_validity", "offered_load"]


def network_validity(plan: Plan, raw: RawRun) -> PacketValidity:
    """Judge whether links stayed where the packet-level network is accurate.

    Injection ports are left out (the model is exact there). Vectors of a flight that share a
    link travel as one train, which counts as one long packet: the strict reading.
    """
    shape = plan.transport.shape
    ports = plan.transport.first_port_link
    used = raw.link_used[: plan.transport.first_chip_link]  # links between chips are exact too

    def name(link: int) -> str:
        return shape.link_name(link) if link < ports else f"ejection port {(link - ports) // 2}"

    return judge_packets(used, slice(ports, None, 2), max(1, raw.end_ps), name)


def network_level(plan: Plan, raw: RawRun, served: NetworkLevel) -> str:
    """Return which model of the network ran, and how far it may be trusted."""
    if not plan.transport.contended:
        return "no contention"
    if served.flit:
        return "flit level"
    validity = network_validity(plan, raw)
    if validity.inside and validity.error is not None:
        return f"packet level, within {100 * validity.error:.0f} %"
    return "packet level, out of range" + (f": {served.why}" if served.why else "")


def offered_load(plan: Plan, raw: RawRun) -> float:
    """Return the busy time of the busiest resource over the time in which streams arrived.

    Above 1 the chip cannot keep up, and latencies grow with the length of the run. 0 where
    streams enter as soon as there is room (a closed loop offers no load of its own).
    """
    arrivals = plan.arrival_ps
    if arrivals[0] < 0 or len(arrivals) < 2 or arrivals[-1] == arrivals[0]:
        return 0.0
    # n arrivals span n - 1 gaps.
    span = float(arrivals[-1] - arrivals[0]) * len(arrivals) / (len(arrivals) - 1)
    busiest = max(
        int((raw.server_busy_ps + raw.server_write_ps).max(initial=0)),
        int(raw.digital_busy_ps.max()),
        int(raw.link_used[:, BUSY_PS].max()),
        int(raw.dram_busy_ps.max()),
    )
    return busiest / span


def list_cautions(plan: Plan, raw: RawRun, critical: str, served: NetworkLevel) -> tuple[str, ...]:
    """Return sentences for the report, most important first."""
    found: list[str] = []
    load = offered_load(plan, raw)
    if load > 1:
        found.append(
            f"arrivals exceed what the chip can serve: {critical} would be busy "
            f"{100 * load:.0f} % of the time; latencies grow with the length of the run"
        )
    if not plan.transport.contended:
        found.append("network contention is switched off: latencies are optimistic")
        return tuple(found)
    validity = network_validity(plan, raw)
    if not validity.inside and not served.flit:
        why = f" (not simulated flit by flit: {served.why})" if served.why else ""
        found.append(validity.sentence() + why)
    return tuple(found)
