"""Expert switching on the flit-level network: weights travel, and a slot waits to be written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.events.flit_jobs import Countdown, Write
from cimsim.engine.events.flit_wires import FlitWires
from cimsim.engine.events.schedule import KINDS, WEIGHTS, WRITTEN
from cimsim.engine.events.server_lines import ServerLines
from cimsim.engine.events.simpy_loop import SimpyLoop, SimpyRun
from cimsim.engine.plan import Plan

__all__ = ["FlitWrites"]


class FlitWrites(SimpyLoop):
    """The part of the flit level's loop that writes slots; see `FlitLoop`."""

    def __init__(self, plan: Plan, how: SimpyRun) -> None:
        super().__init__(plan, how, flit=True)
        self.wires = FlitWires(plan.transport)
        self.lines = ServerLines(plan.sites.n_servers, self.on_first)
        self.servers_of = self.rows_of("servers", self.tables.servers)
        self.written_ps = np.zeros(plan.sites.n_servers, dtype=np.int64)

    def rows_of(self, name: str, flat: NDArray[Any]) -> list[Any]:
        """Return the range of every site in a flat table as a list."""
        site = self.tables.site
        ranges = zip(site[name].tolist(), site[f"{name}_end"].tolist(), strict=True)
        return [flat[low:high].tolist() for low, high in ranges]

    def on_first(self, job: Any) -> None:
        """A job has its ADC groups."""
        raise NotImplementedError

    def on_event(self, event: Any) -> None:
        """Handle an event of the tables; weights that were fetched have yet to travel."""
        slot, kind = divmod(event.value, KINDS)
        if kind == WEIGHTS:
            self._on_fetched(slot)
        else:
            super().on_event(event)

    def _expert(self, slot: int) -> Any:
        return self.tables.expert[self.tables.slot[slot]["holds"]]

    def _on_fetched(self, slot: int) -> None:
        ports, site = self.plan.transport.ports, self.tables.site[self.tables.slot[slot]["site"]]
        tiles = self.tables.tiles[site["tiles"] : site["tiles_end"]].tolist()
        value, flits = (
            (slot, Countdown(ports.n_channels * len(tiles))),
            int(self._expert(slot)["flits"]),
        )
        for channel in range(ports.n_channels):
            for tile in tiles:
                port = ports.first_channel + channel
                self.wires.send(self.env.now, port, (tile,), flits, self._on_weights_at, value)

    def _on_weights_at(self, value: tuple[int, Countdown], tile: int) -> None:
        """Weights are at a tile; with the last, the slot gets in line to be written."""
        del tile
        slot, due = value
        if not due.last():
            return
        row = self.tables.slot[slot]
        row["arrived_ps"] = self.env.now
        servers = self.servers_of[row["site"]]
        free = self.tables.server["free_ps"]
        # What the choice among copies expects: a write that never waits.
        free[servers] = max(self.env.now, free[servers].max()) + self._expert(slot)["write_ps"]
        self.lines.join(Write(slot, servers))

    def write(self, job: Write) -> None:
        """Write a slot whose ADC groups are free."""
        row, work = self.tables.slot[job.slot], int(self._expert(job.slot)["write_ps"])
        end = self.env.now + work
        row["write_ps"], row["end_ps"] = self.env.now, end
        self.written_ps[job.servers] = end
        self.tables.server["written_ps"][job.servers] += work
        if self.how.record:
            self.tables.load_log[self.now["load_rows"]] = (
                job.slot, row["holds"], row["start_ps"], row["fetched_ps"], row["arrived_ps"],
                row["write_ps"], row["end_ps"],
            )  # fmt: skip
            self.now["load_rows"] += 1
        self.at(end, self.on_event, job.slot * KINDS + WRITTEN)
        self.at(end, self._on_end_of_write, job)

    def _on_end_of_write(self, event: Any) -> None:
        self.lines.leave(event.value)
