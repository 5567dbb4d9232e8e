"""Philox known answers, and normals that are normal out to their tails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from cimsim import rng

# Known answers of philox4x32-10 in the Random123 distribution (kat_vectors).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(counter, key, answer) -> None:
    found = rng.philox4x32(np.array(counter, dtype=np.uint32), key)
    assert tuple(int(v) for v in found) == answer
    assert rng.philox_words(*counter, *key) == answer


def test_compiled_bits_and_normals_equal_their_twins() -> None:
    bits, z = np.empty(256, np.uint32), np.empty(256, np.float32)
    rng.fill_normals(z, bits, 64, 7, 2**31, 2**32 - 1, 2**32 - 1, 5)
    words, key = (7, 2**31, 2**32 - 1), (2**32 - 1, 5)
    np.testing.assert_array_equal(bits, rng.uniform_bits_at(320, words, key)[64:])
    np.testing.assert_array_equal(z, rng.normals_at(320, words, key)[64:])


def test_a_column_has_the_same_number_whatever_the_width() -> None:
    words, key = (1, 2, 3), (4, 5)
    np.testing.assert_array_equal(
        rng.normals_at(1000, words, key)[:100], rng.normals_at(100, words, key)
    )


def test_normal_is_monotone_in_its_bits_and_reaches_six_sigma() -> None:
    negative = np.linspace(2**31, 2**32 - 1, 100_001).astype(np.uint32)
    tail = rng.normals_of_bits(negative)
    assert np.all(np.diff(tail) >= 0)
    extremes = rng.normals_of_bits(np.array([0, 2**31], dtype=np.uint32))
    assert extremes[0] == -extremes[1]
    assert extremes[0] > 6.2


def test_quantiles_are_exact_within_the_interpolation_error() -> None:
    m = np.unique(np.geomspace(1, 2**31 - 1, 5000).astype(np.uint32))
    found = rng.normals_of_bits(m)
    exact = -stats.norm.ppf((m.astype(np.float64) + 0.5) / 2.0**32)
    assert np.abs(found - exact).max() < 5e-5


def _normals(count: int, seed: int) -> np.ndarray:
    z, bits = np.empty(1 << 16, np.float32), np.empty(1 << 16, np.uint32)
    key = rng.derive_key(seed, 99)
    rows = []
    for i in range(-(-count // z.size)):
        rng.fill_normals(z, bits, 0, i, 0, 0, *key)
        rows.append(z.copy())
    return np.concatenate(rows)[:count].astype(np.float64)


def test_moments_kurtosis_and_distribution(scaled: Callable[[int], int]) -> None:
    n = scaled(10_000_000)
    z = _normals(n, 0)
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(np.mean(z**3)) < 4 * np.sqrt(15 / n)
    assert abs(np.mean(z**4) - 3) < max(0.01, 4 * np.sqrt(96 / n))
    # 3e-4 at 1e7 draws, 0.95 / sqrt(n): the median of the Kolmogorov law is 0.83 / sqrt(n)
    assert stats.kstest(z, "norm").statistic < 0.95 / np.sqrt(n)
    expected_tail = n * 2 * stats.norm.sf(4.0)
    assert abs(np.sum(np.abs(z) > 4.0) - expected_tail) < 5 * np.sqrt(expected_tail)


def test_neighbours_and_streams_are_uncorrelated(scaled: Callable[[int], int]) -> None:
    n = scaled(10_000_000)
    z, other = _normals(n, 0), _normals(n, 1)
    limit = 4.5 / np.sqrt(n)
    for lag in (1, 2, 16, 64, 1 << 16):
        assert abs(np.mean(z[lag:] * z[:-lag])) < limit, lag
    assert abs(np.mean(z * other)) < limit


def test_keys_of_purposes_differ() -> None:
    keys = {rng.derive_key(s, p, w) for s in range(20) for p in range(5) for w in range(-1, 20)}
    assert len(keys) == 20 * 5 * 21
    assert rng.derive_key(3, 1) != rng.derive_key(3, 1, 0)
    assert rng.derive_key(2**63 - 1, 1) != rng.derive_key(2**31 - 1, 1)
