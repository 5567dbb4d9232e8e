"""The activity of chips as a trace for Perfetto and chrome://tracing.

Trace event format: complete events (``ph: X``) with ``ts`` and ``dur`` in microseconds, thread =
resource, process = chip, or a group of its resources (`cimsim.results.trace_groups`), category =
kind of work; counters (``ph: C``). Open the file at ui.perfetto.dev. Bytes depend on the activity
alone: times are exact decimals of picoseconds, and the gzip header carries no date.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence

import numpy as np

from cimsim.results.activity import KINDS, Activity, Counter
from cimsim.results.trace_groups import groups_of

__all__ = ["CHIP_SLICES", "RUN_SLICES", "trace_json", "write_gzip"]

# Slices written: enough to see the pipeline at work, small enough to mail.
CHIP_SLICES = 1_000
RUN_SLICES = 5_000
PS_PER_US = 1_000_000
NOT_RECORDED = (
    "routers, links and ports of the network moment by moment, and links between chips: the "
    "busiest links are shown with their share of the phase, resources.csv has all; input and "
    "output of the chip: their time is not modelled"
)


def _us(time_ps: int) -> str:
    """Return picoseconds as an exact decimal number of microseconds."""
    whole, rest = divmod(time_ps, PS_PER_US)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _metadata(kind: str, place: str, key: str, value: object) -> str:
    return f'{{"ph":"M","name":"{kind}",{place},"args":{{"{key}":{json.dumps(value)}}}}}'


def _named(kind: str, place: str, name: str, rank: int) -> Iterator[str]:
    """Name a process or thread and say where it is shown."""
    yield _metadata(f"{kind}_name", place, "name", name)
    yield _metadata(f"{kind}_sort_index", place, "sort_index", rank)


def _chip_events(name: str, activity: Activity, pid: int, tid: int) -> Iterator[str]:
    """Yield the events of one system.

    Args:
        name: of the system.
        activity: what it did.
        pid: of its first group of tracks.
        tid: of its first track; unlike process ids, 0 has a meaning of its own to viewers.
    """
    places: dict[int, str] = {}
    first: dict[int, int] = {}
    for number, group in enumerate(groups_of(activity), pid):
        label = name if activity.chips == 1 else f"{name} chip {group.chip}"
        title = f"{label}: {group.name}" if group.name else label
        first.setdefault(group.chip, number)
        yield from _named("process", f'"pid":{number}', title, number)
        for rank, track in enumerate(group.tracks):
            places[track] = f'"pid":{number},"tid":{tid + track}'
            yield from _named("thread", places[track], activity.tracks[track].name, rank)
    names = [json.dumps(n) for n in activity.names]
    for track, title, kind, start, end, *rest in activity.slices.tolist():
        keys = ("layer", "expert", "tokens", "flight")
        args = "".join(f',"{k}":{v}' for k, v in zip(keys, rest, strict=True) if v >= 0)
        yield (
            f'{{"ph":"X","name":{names[title]},"cat":"{KINDS[kind]}",{places[track]},'
            f'"ts":{_us(start)},"dur":{_us(end - start)},"args":{{"kind":"{KINDS[kind]}"{args}}}}}'
        )
    for counter in activity.counters:
        yield from _counter_events(counter, first[counter.chip])
    yield from _link_events(name, activity, pid + len(groups_of(activity)), tid)


def _link_events(name: str, activity: Activity, pid: int, tid: int) -> Iterator[str]:
    """Yield a slice over the whole window for each of the busiest links, that says its share."""
    if not activity.links or activity.until_ps <= activity.from_ps:
        return
    yield from _named("process", f'"pid":{pid}', f"{name}: busiest links", pid)
    lasts = f'"ts":{_us(activity.from_ps)},"dur":{_us(activity.until_ps - activity.from_ps)}'
    for rank, link in enumerate(activity.links):
        place = f'"pid":{pid},"tid":{tid + len(activity.tracks) + rank}'
        yield from _named("thread", place, link.name, rank)
        said = json.dumps(f"busy {100 * link.share:.0f} % of the phase")
        yield (f'{{"ph":"X","name":{said},"cat":"link",{place},{lasts},"args":{{"kind":"link"}}}}')


def _counter_events(counter: Counter, pid: int) -> Iterator[str]:
    name, series = json.dumps(counter.name), json.dumps(counter.series)
    for moment, value in zip(counter.time_ps.tolist(), counter.value.tolist(), strict=True):
        yield (
            f'{{"ph":"C","name":{name},"pid":{pid},"ts":{_us(moment)},"args":{{{series}:{value}}}}}'
        )


def _about(activity: Activity) -> dict[str, object]:
    """Return what a trace says of one system: what is in it, and what is left out."""
    kept = np.bincount(activity.slices[:, 2], minlength=len(KINDS)).tolist()
    window = "the whole phase"
    if activity.until_ps < activity.end_ps:
        until, end = _us(activity.until_ps), _us(activity.end_ps)
        window = f"the first {until} of {end} us: what starts then"
    if activity.from_ps:
        begin, until = _us(activity.from_ps), _us(activity.until_ps)
        window = f"{begin} to {until} of {_us(activity.end_ps)} us"
    if activity.until_ps == 0:
        window = "nothing: the engine keeps no log of so many visits"
    return {
        "phase": activity.phase,
        "window": window,
        "slices_written": dict(zip(KINDS, kept, strict=True)),
        "slices_left_out": {
            kind: total - n for kind, total, n in zip(KINDS, activity.total, kept, strict=True)
        },
        "not_recorded": NOT_RECORDED,
    }


def trace_json(chips: Sequence[tuple[str, Activity]], limit: int = RUN_SLICES) -> str:
    """Return what chips did as trace JSON.

    Args:
        chips: name and activity of every system.
        limit: slices written in all, the first of every system in equal parts; the trace
            says what was left out.
    """
    each = max(1, limit // max(1, len(chips)))
    shown = [(name, activity.first(each)) for name, activity in chips]
    events: list[str] = []
    pid = tid = 1
    for name, activity in shown:
        events += _chip_events(name, activity, pid, tid)
        pid += len(groups_of(activity)) + bool(activity.links)
        tid += len(activity.tracks) + len(activity.links)
    about = {"program": "cimsim", "chips": {name: _about(activity) for name, activity in shown}}
    body = ",\n".join(events)
    return (
        f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about)},"traceEvents":[\n{body}\n]}}\n'
    )


def write_gzip(text: str) -> bytes:
    """Return text gzipped with the same bytes every time."""
    data = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=data, mtime=0, compresslevel=9) as file:
        file.write(text.encode("utf-8"))
    return data.getvalue()
