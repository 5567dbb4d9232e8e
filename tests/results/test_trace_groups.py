"""Traces of chips with many resources: few rows first, windows, and the busiest links."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from trace_reader import read_trace

from cimsim.results import KINDS, Activity, Counter, LinkUse, Track, trace_json
from cimsim.results.trace_groups import FIRST_VIEW, groups_of

VISIT, WAIT = KINDS.index("visit"), KINDS.index("wait")
LINKS = (LinkUse(0, "link a", 0.5), LinkUse(0, "link b", 0.25))


def activity(tiles: int, *, links: tuple[LinkUse, ...] = LINKS) -> Activity:
    """Memory, two digital units and tiles; tile i works for i + 1 ns from i ns on."""
    tracks = [
        Track(0, "memory channels of chip 0"),
        Track(0, "digital unit 0"),
        Track(0, "digital unit 1"),
        *(Track(0, f"tile {i}") for i in range(tiles)),
    ]
    rows = [(t, 0, VISIT, 0, 100, 1, -1, 1, 0) for t in range(3)]
    rows += [(3 + i, 0, VISIT, 1000 * i, 1000 * (2 * i + 1), 1, -1, 1, 0) for i in range(tiles)]
    end = 1000 * 2 * tiles
    counter = Counter(0, "experts", "resident", np.array([0, 2000, 5000]), np.array([1, 2, 3]))
    return Activity("decode_b8", 1, tuple(tracks), ("0.attention",),
                    np.array(sorted(rows, key=lambda r: r[3]), np.int64), (counter,),
                    (len(rows), 0, 0, 0, 0, 0), end, end, links=links)  # fmt: skip


def test_few_tracks_stand_in_one_group() -> None:
    (one,) = groups_of(activity(17))
    assert (one.name, len(one.tracks)) == ("", FIRST_VIEW)


def test_many_tracks_show_twenty_rows_first_with_the_busiest_of_the_others() -> None:
    memory, busiest, rest = groups_of(activity(100))
    assert memory.tracks == (0, 1, 2)
    # Tile 99 works longest; three and two rows are taken by memory, digital units and links.
    assert busiest.tracks[:2] == (102, 101)
    assert len(memory.tracks) + len(busiest.tracks) + len(LINKS) == FIRST_VIEW
    assert sorted((*memory.tracks, *busiest.tracks, *rest.tracks)) == list(range(103))
    tables = read_trace(trace_json([("isaac", activity(100))]))
    names = [n for (n,) in tables.execute("select name from process order by sort")]
    assert names == ["isaac: memory, digital units", "isaac: busiest others",
                     "isaac: all others", "isaac: busiest links"]  # fmt: skip


def test_waiting_makes_no_track_busy() -> None:
    waiting = activity(100)
    slices = waiting.slices.copy()
    slices[slices[:, 0] == 102, 2] = WAIT
    assert groups_of(replace(waiting, slices=slices))[1].tracks[0] == 101


def test_busiest_links_are_slices_over_the_window_with_their_share() -> None:
    text = trace_json([("isaac", activity(5))])
    links = [e for e in json.loads(text)["traceEvents"] if e.get("cat") == "link"]
    assert [(e["name"], e["ts"], e["dur"]) for e in links] == [
        ("busy 50 % of the phase", 0, 0.01),
        ("busy 25 % of the phase", 0, 0.01),
    ]


def test_a_window_keeps_what_lies_in_it_or_reaches_into_it() -> None:
    # Tiles 0 to 4 work at 0 to 1, 1 to 3, 2 to 5, 3 to 7 and 4 to 9 ns.
    part = activity(5).between(3000, 4000)
    assert part.slices[:, 0].tolist() == [5, 6]
    assert (part.from_ps, part.until_ps) == (3000, 4000)
    (counter,) = part.counters
    assert counter.value.tolist() == [2]
    about = json.loads(trace_json([("a", part)]))["otherData"]["chips"]["a"]
    assert about["window"] == "0.003 to 0.004 of 0.01 us"


@pytest.mark.parametrize("tiles", [3, 40])
def test_counters_stand_with_the_first_group_of_their_chip(tiles: int) -> None:
    tables = read_trace(trace_json([("isaac", activity(tiles))]))
    assert {pid for (pid,) in tables.execute("select pid from counter")} == {1}
