"""What the flit level keeps of a stage, a visit and a write while their vectors travel."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Countdown", "Service", "Stage", "Write"]

NONE = -1


@dataclass(eq=False)
class Countdown:
    """Deliveries that are still due."""

    left: int

    def last(self) -> bool:
        """Count one; return whether it was the last."""
        self.left -= 1
        return self.left == 0


@dataclass(eq=False)
class Stage:
    """An analog stage of a flight.

    Attributes:
        flight: which.
        step: of the flight.
        port: of its digital unit.
        members: visits of every token, in order.
        unsent: visits that have not been sent.
        left: tokens whose results are not back.
        held: results that wait for the tree of their sum.
        parts: messages of the parts of a token's sum.
        pieces: pieces of a token's results that are not back, where they are not summed.
    """

    flight: int
    step: int
    port: int
    members: dict[int, list[int]]
    unsent: int
    left: int
    held: list[tuple[Service, int]] = field(default_factory=list)
    parts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    pieces: dict[int, Countdown] = field(default_factory=dict)


@dataclass(eq=False)
class Service:
    """A visit that has been sent.

    Attributes:
        visit: which.
        site: where it is served.
        size: its tokens.
        stage: what it belongs to.
        servers: ADC groups.
        sent_ps: when its inputs were sent.
        missing: tiles that do not have a token's input yet, by token.
        inside: tokens at the tiles that wait for the ADC groups.
        arrived_ps: when the first vector was at all its tiles.
        start_ps: when it got the ADC groups, or -1.
        in_ps: when the last vector so far has been taken in.
        taken, done: vectors taken in, results ready.
        row: of the log of visits.
    """

    visit: int
    site: int
    size: int
    stage: Stage
    servers: list[int]
    sent_ps: int
    missing: dict[int, Countdown]
    inside: list[int] = field(default_factory=list)
    arrived_ps: int = 0
    start_ps: int = NONE
    in_ps: int = 0
    taken: int = 0
    done: int = 0
    row: int = NONE


@dataclass(eq=False)
class Write:
    """An expert's weights at their slot."""

    slot: int
    servers: list[int]
