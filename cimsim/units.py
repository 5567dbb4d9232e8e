"""Unit conversions, in one place and by name.

Inside cimsim time is an integer number of picoseconds and energy is femtojoules in
float64; every physical name ends in its unit. Configuration files use the units that
architects write (ns, GHz, GB/s), and these constants convert at the border.
"""

from __future__ import annotations

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_S = 1_000_000_000_000
FJ_PER_PJ = 1e3
FJ_PER_NJ = 1e6
FJ_PER_J = 1e15
UM2_PER_MM2 = 1e6
BITS_PER_BYTE = 8
OPS_PER_MAC = 2


def ps_from_ns(time_ns: float) -> int:
    """Return a time in whole picoseconds, rounded to the nearest.

    Args:
        time_ns: a time in nanoseconds.
    """
    return round(time_ns * PS_PER_NS)


def period_ps(rate_ghz: float) -> int:
    """Return the period of a clock in whole picoseconds, at least 1.

    Args:
        rate_ghz: a clock or sample rate in GHz.
    """
    return max(1, round(PS_PER_NS / rate_ghz))


def transfer_ps(size_bytes: float, rate_gbps: float) -> int:
    """Return the time to move `size_bytes` at `rate_gbps` gigabytes per second, in ps.

    Args:
        size_bytes: bytes moved.
        rate_gbps: bandwidth in GB/s (1e9 bytes per second).
    """
    return max(1, round(size_bytes / rate_gbps * PS_PER_NS))
