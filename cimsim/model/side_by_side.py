"""Flights that pass several devices one after another, each device busy with another flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from cimsim.model.flight import Flight

__all__ = ["Share", "pass_side_by_side"]

Share = Callable[[Flight], None]
"""Takes a flight through the layers of one device."""


def pass_side_by_side(flights: Sequence[Flight], shares: Sequence[Share]) -> Iterator[Flight]:
    """Yield flights in order, each once it has passed all devices in order.

    A device has a thread of its own and takes flights in order, so that with F flights and D
    devices a pass lasts as long as F + D - 1 of its D F parts, if they last alike.

    Args:
        flights: windows that do not attend to each other.
        shares: of the devices.
    """
    pools = [ThreadPoolExecutor(1) for _ in shares]
    try:
        ends = [_enter(flight, pools, shares) for flight in flights]
        for flight, end in zip(flights, ends, strict=True):
            end.result()
            yield flight
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _enter(
    flight: Flight, pools: Sequence[ThreadPoolExecutor], shares: Sequence[Share]
) -> Future[None]:
    """Queue a flight with every device; return when it has passed the last."""
    passed: Future[None] = Future()
    passed.set_result(None)
    for pool, share in zip(pools, shares, strict=True):
        passed = pool.submit(_follow, passed, share, flight)
    return passed


def _follow(before: Future[None], share: Share, flight: Flight) -> None:
    before.result()
    share(flight)
