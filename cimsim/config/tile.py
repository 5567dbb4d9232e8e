"""Tiles: processing elements, crossbars, number formats and buffers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cimsim.config.bounds import (
    CAPACITANCE_FF,
    COUNT,
    CURRENT_NA,
    CURRENT_UA,
    ENERGY_PJ,
    MEMORY_KB,
    READ_NS,
    WIRE_OHM,
    WRITE_NS,
)
from cimsim.config.converter import AnyAdc, Dac, IsaacAdc
from cimsim.config.device import AnyDevice, IdealDevice
from cimsim.config.section import Section, equals, knob


class WeightFormat(Section):
    """How a float weight becomes levels of cells."""

    bits: int = knob(
        8,
        "Bits of a stored signed weight; 1 means codes +1 and -1, the sign of the weight, times "
        "its mean magnitude.",
        unit="bit",
        ge=1,
        le=16,
    )
    encoding: Literal["differential", "offset", "isaac", "center"] = knob(
        "differential",
        "Signed weights on unsigned cells: a pair of cells per slice; a common offset whose share "
        "is subtracted digitally; ISAAC's unit column with flipped columns; a digital centre "
        "a column.",
    )
    scale: Literal["per_matrix", "per_column"] = knob(
        "per_matrix", "One scale per matrix (each expert its own) or one per logical column."
    )

    @property
    def level_lsb(self) -> int:
        """What a level of the lowest cell counts in units of the integer weight.

        1, but 2 for +-1 of one bit in a single cell, which holds the bit (W_q + 1) / 2.
        """
        return 2 if self.bits == 1 and self.encoding != "differential" else 1


class InputFormat(Section):
    """How a float activation becomes cycles of DAC codes."""

    bits: int = knob(
        8,
        "Bits of a signed input; 1 means codes +1 and -1, the sign of the input, times its mean "
        "magnitude.",
        unit="bit",
        ge=1,
        le=16,
    )
    signed: Literal["twos_complement", "two_phase", "shift"] = knob(
        "twos_complement",
        "Signs: the top bit weighs negative (needs 1-bit DACs); positive and negative parts one "
        "after the other; a shift by half the range that is subtracted digitally. Inputs of one "
        "bit drive the rows of -1, those of +1 and then those of -1, or those of +1.",
    )
    scale: Literal["per_token", "static", "per_channel"] = knob(
        "per_token",
        "Input scale from each token's own maximum (of one bit: mean magnitude), fixed from "
        "calibration text for a matrix, or fixed for every input, which a digital unit divides by "
        "before the DAC and the row of weights carries. cost.input_scale charges what that takes.",
    )
    skip_zeros: bool = knob(
        default=False,
        description="Rows that are driven at once and whose inputs of a cycle are all 0 are "
        "neither driven nor converted: their code is 0. The cycle keeps its time.",
        late=True,
    )

    @property
    def fed_bits(self) -> int:
        """Bits that drivers apply: two phases feed magnitudes, which need one bit less."""
        return max(1, self.bits - 1) if self.signed == "two_phase" else self.bits


class IdealSense(Section):
    """Cells draw their current from the read voltage; holding a bit line costs nothing."""

    kind: Literal["ideal"] = "ideal"


class ClampSense(Section):
    """Bit lines held at the read voltage by a clamp; their current flows from the supply.

    NOR and embedded flash, PCM and ReRAM with current-mode readout: a regulated cascode or mirror
    carries the sum of a column from technology.vdd_v, its amplifier is biased while rows are
    driven, and the line is charged for every read.
    """

    kind: Literal["clamp"] = "clamp"
    mirrors: float = knob(
        1.0,
        "Copies of a column's current that mirrors draw from the supply beside it; 0 where the "
        "current itself is integrated.",
        ge=0,
        le=64,
    )
    bias_ua: float | None = knob(
        None,
        "Bias of the amplifier of one bit line; null takes what settles the line to half a code "
        "in the time of a read.",
        unit="uA",
        ge=0,
        within=CURRENT_UA,
    )
    off_na: float = knob(
        0.0,
        "Current of a cell whose row is not driven, at the read voltage.",
        unit="nA",
        ge=0,
        within=CURRENT_NA,
    )
    reference_columns: float = knob(
        0.0,
        "Reference columns at the mean current for every column that is sensed, e.g. 1/64.",
        ge=0,
        le=16,
    )


AnySense = Annotated[IdealSense | ClampSense, Field(discriminator="kind")]


class Crossbar(Section):
    """One array of cells and how it is read."""

    kind: Literal["analog", "digital"] = knob(
        "analog", "Analog column sums through ADCs, or exact digital adder trees (no ADC)."
    )
    rows: int = knob(128, "Word lines: inputs.", ge=1, le=8192)
    cols: int = knob(128, "Bit lines: physical columns.", ge=1, le=8192)
    rows_active: int | None = knob(None, "Rows driven at once; null means all.", ge=1, le=8192)
    read_ns: float = knob(100.0, "Time to settle and sample one cycle.", unit="ns", within=READ_NS)
    v_read_v: float = knob(0.2, "Read voltage.", unit="V", ge=1e-3, le=5)
    wire_ohm: float = knob(
        0.0,
        "Wire resistance between two cells; 0 switches the voltage drop off.",
        unit="ohm",
        ge=0,
        within=WIRE_OHM,
    )
    stuck_columns_high: float = knob(
        0.0,
        "Fraction of converted columns whose bit line is shorted: their code is the highest one.",
        ge=0,
        le=1,
        late=True,
    )
    stuck_columns_low: float = knob(
        0.0,
        "Fraction of converted columns whose bit line is broken: no current, code 0.",
        ge=0,
        le=1,
        late=True,
    )

    # Left out of resolved files while it is ideal: the identity of such a chip stays as it was.
    sense: AnySense = Field(
        IdealSense(),
        description="How bit lines are held and sensed.",
        exclude_if=equals(IdealSense()),
    )

    @property
    def rows_at_once(self) -> int:
        """Most rows that one read drives."""
        return min(self.rows_active or self.rows, self.rows)


class NoMerge(Section):
    """Every slice of a weight is converted by itself; codes are shifted and added."""

    kind: Literal["none"] = "none"


class _Merge(Section):
    """Slices of a weight are summed by their place before one conversion."""

    sigma: float = knob(
        0.0,
        "Frozen relative error of a unit capacitor (binary) or of a stage's division (c2c), std.",
        ge=0,
        le=0.5,
    )
    unit_ff: float = knob(1.0, "Unit capacitor of the merge.", unit="fF", within=CAPACITANCE_FF)


class BinaryMerge(_Merge):
    """Charge shared between capacitors of 1, 2, 4, ... units, one for each slice."""

    kind: Literal["binary"] = "binary"


class C2cMerge(_Merge):
    """A ladder of C and 2C capacitors, a stage for every bit."""

    kind: Literal["c2c"] = "c2c"


AnyMerge = Annotated[NoMerge | BinaryMerge | C2cMerge, Field(discriminator="kind")]


class Pe(Section):
    """Processing element (ISAAC: IMA): crossbars that share converters."""

    crossbars: int = knob(8, "Crossbars in a PE.", within=COUNT)
    sample_hold: Literal["double", "single"] = knob(
        "double", "Double-buffered sample-and-hold overlaps reading with converting."
    )
    subtract: Literal["analog", "digital"] = knob(
        "analog",
        "Where a differential pair is subtracted: before the ADC (one conversion) or after (two).",
    )
    accumulate_cycles: bool = Field(
        default=False,
        description="Charge accumulates over input cycles before one conversion.",
        json_schema_extra={"unit": "1"},
    )
    # Left out of resolved files while it is none: the identity of such a chip stays as it was.
    merge: AnyMerge = Field(
        NoMerge(),
        description="Whether the slices of a weight are summed before one conversion.",
        exclude_if=equals(NoMerge()),
    )
    supply_droop: float = knob(
        0.0,
        "Relative loss of read voltage at the PE's last crossbar, along a supply rail that is fed "
        "at the first one and loaded alike by all.",
        ge=0,
        le=0.9,
        late=True,
    )


class Buffers(Section):
    """Input and output memory of a tile."""

    kind: Literal["sram", "edram"] = knob("sram", "Memory technology of the tile buffer.")
    size_kb: float = knob(64.0, "Capacity of the tile buffer.", unit="kB", within=MEMORY_KB)
    bus_bits: int = knob(
        256, "Width of the bus between buffer and PEs.", unit="bit", ge=8, le=65536
    )


class Tile(Section):
    """One tile of the mesh."""

    pes: int = knob(8, "PEs in a tile.", within=COUNT)
    tiers: int = knob(
        1,
        "Tiers of cells stacked over every crossbar of the tile, of which the tile reads one at a "
        "time: so many times the weights on the same footprint, drivers and converters (3D).",
        within=COUNT,
        late=True,
    )
    tier_switch_ns: float = knob(
        0.0,
        "Time to make another tier of a tile the active one; 0 is assumed, for want of a published "
        "figure (tiers as in Buechel et al. 2025, doi 10.1038/s43588-024-00753-x).",
        unit="ns",
        ge=0,
        within=WRITE_NS,
        late=True,
    )
    tier_switch_pj: float = knob(
        0.0,
        "Energy of making another tier of a tile the active one; 0 is assumed, as for its time.",
        unit="pJ",
        ge=0,
        within=ENERGY_PJ,
        late=True,
    )
    pe: Pe = Field(Pe(), description="Processing element.")
    crossbar: Crossbar = Field(Crossbar(), description="Array of cells.")
    weight: WeightFormat = Field(WeightFormat(), description="Weight format.")
    input: InputFormat = Field(InputFormat(), description="Input format.")
    dac: Dac = Field(Dac(), description="Row drivers.")
    adc: AnyAdc = Field(IsaacAdc(), description="Column converters.")
    device: AnyDevice = Field(IdealDevice(), description="Cells.")
    buffers: Buffers = Field(Buffers(), description="Tile buffer.")

    @model_validator(mode="after")
    def _has_something_to_recover(self) -> Tile:
        """Refuse recovery of what has no wider cycle, or of ranges that are sought without it."""
        again = self.dac.recovery_bits
        if again is None:
            return self
        message = None
        if self.input.fed_bits <= again:
            message = f"inputs that feed {self.input.fed_bits} bits have no wider cycle to recover"
        elif self.pe.accumulate_cycles:
            message = "pe.accumulate_cycles leaves one conversion of all cycles: none to recover"
        elif self.adc.range.kind == "auto":
            message = (
                "adc.range auto seeks the range of least error as if no column was recovered: "
                "take fixed or percentile"
            )
        if message is not None:
            error = f"dac.recovery_bits {again}: {message}"
            raise ValueError(error)
        return self

    @property
    def crossbars(self) -> int:
        """Crossbars side by side in a tile: its footprint."""
        return self.pes * self.pe.crossbars

    @property
    def stacked_crossbars(self) -> int:
        """Crossbars in a tile, those of all its tiers."""
        return self.tiers * self.crossbars


TileSection = Annotated[Tile, Field(description="The tile that the mesh repeats.")]
