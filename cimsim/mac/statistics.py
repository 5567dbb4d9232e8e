"""What happened in the converters and on the word lines, by matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from cimsim.workload.matrix import MatrixId

__all__ = ["MacStatistics", "MatrixCounts", "exact_share"]

_SHARES = 1 << 30


def exact_share(share: float) -> float:
    """Return a share on a grid of 2**-30, so that sums over 8 million vectors are exact.

    Sums then do not depend on how vectors were cut into batches.
    """
    return round(share * _SHARES) / _SHARES


@dataclass
class MatrixCounts:
    """Counts of one matrix.

    Attributes:
        vectors: input vectors multiplied.
        conversions: ADC samples that were made.
        skipped: of one for every column, read and plane, those that no driven row asked for.
        recovered: samples of recovery cycles, of columns that were out of range.
        searched: comparisons of all samples, counted with `tile.adc.search` lsb_first.
        clipped: samples outside the range of the converter that no others replaced.
        code_sum: sum of the absolute codes that drove rows.
        code_slots: the greatest that sum could have been.
        recoverable: samples of recovery cycles if all columns took them.
        recovery_code_sum: as `code_sum`, of recovery cycles.
        recovery_code_slots: as `code_slots`, of recovery cycles.
        level_fraction_sum: mean conductance over g_max of the cells, times vectors.
    """

    vectors: int = 0
    conversions: int = 0
    skipped: int = 0
    recovered: int = 0
    searched: int = 0
    clipped: int = 0
    code_sum: int = 0
    code_slots: int = 0
    recoverable: int = 0
    recovery_code_sum: int = 0
    recovery_code_slots: int = 0
    level_fraction_sum: float = 0.0

    def add(self, other: MatrixCounts) -> None:
        """Add the counts of other vectors of the same matrix."""
        for count in fields(self):
            setattr(self, count.name, getattr(self, count.name) + getattr(other, count.name))

    @property
    def input_bit_density(self) -> float:
        """Mean code over the greatest code: the share of word line time that is driven."""
        return self.code_sum / self.code_slots if self.code_slots else 0.0

    @property
    def skipped_share(self) -> float:
        """Share of reads that no input asked for and that were left out."""
        every = self.conversions - self.recovered + self.skipped
        return self.skipped / every if every else 0.0

    @property
    def recovered_share(self) -> float:
        """Conversions made in recovery cycles over those of all their columns."""
        return self.recovered / self.recoverable if self.recoverable else 0.0

    @property
    def search_cycles(self) -> float:
        """Mean comparisons of a sample, 0 where they were not counted."""
        return self.searched / self.conversions if self.conversions else 0.0

    @property
    def recovery_bit_density(self) -> float:
        """As `input_bit_density`, of recovery cycles."""
        slots = self.recovery_code_slots
        return self.recovery_code_sum / slots if slots else 0.0

    @property
    def mean_level_fraction(self) -> float:
        """Mean conductance of the cells over g_max."""
        return self.level_fraction_sum / self.vectors if self.vectors else 0.0

    @property
    def clip_rate(self) -> float | None:
        """Share of conversions outside the range, None without conversions."""
        return self.clipped / self.conversions if self.conversions else None


@dataclass
class MacStatistics:
    """Counts of many matrices; `multiply` adds to it.

    Attributes:
        counts: by matrix, in order of first use.
    """

    counts: dict[MatrixId, MatrixCounts] = field(default_factory=dict)

    def add(self, matrix: MatrixId, counts: MatrixCounts) -> None:
        """Add the counts of one call."""
        self.counts.setdefault(matrix, MatrixCounts()).add(counts)

    def merge(self, other: MacStatistics) -> None:
        """Add all counts of another collection."""
        for matrix, counts in other.counts.items():
            self.add(matrix, counts)

    def __iter__(self) -> Iterator[tuple[MatrixId, MatrixCounts]]:
        return iter(self.counts.items())

    @property
    def total(self) -> MatrixCounts:
        """Counts of all matrices together."""
        total = MatrixCounts()
        for counts in self.counts.values():
            total.add(counts)
        return total

    @property
    def conversions(self) -> int:
        """ADC samples of all matrices."""
        return self.total.conversions

    @property
    def clip_rate(self) -> float | None:
        """Share of all conversions outside the range, None without conversions."""
        return self.total.clip_rate
