"""How many chips of a run are computed side by side on one device.

Processes that share a device compute no faster than the device does; what they gain is that one
uses it while another does what only a processor can. What they lose is memory: each keeps the
model's weights for itself, and cells that find no room are written again in every pass. So as many
run at once as the device has room for with all that they keep, and the others after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["DeviceShare", "side_by_side"]


@dataclass(frozen=True)
class DeviceShare:
    """What a chip with a model takes of devices.

    Attributes:
        devices: names of those that it is computed on.
        needs_bytes: what it keeps on each of them (`cimsim.stages.memory.device_bytes`).
    """

    devices: tuple[str, ...]
    needs_bytes: int


def side_by_side(
    shares: Sequence[DeviceShare], free_bytes: Mapping[str, int], jobs: int
) -> tuple[int, str | None]:
    """Return how many chips run at once, and a sentence if those are fewer than asked for.

    Args:
        shares: of every chip of the run.
        free_bytes: of the devices whose memory is shared out.
        jobs: chips at once that processors would do.
    """
    told = None
    for name, free in free_bytes.items():
        needs = sorted((s.needs_bytes for s in shares if name in s.devices), reverse=True)
        together = list(accumulate(needs))  # the largest, the two largest, ...
        count = max(1, sum(taken <= free for taken in together))
        if count < min(jobs, len(needs)):
            jobs, more = count, count + 1
            told = (
                f"chips at once: {jobs}, as {more} would keep {together[count] / 1e9:.0f} GB on "
                f"{name}, where {free / 1e9:.0f} GB are free; --jobs {more} runs {more}, and "
                "writes what does not fit again in every pass"
            )
    return jobs, told
