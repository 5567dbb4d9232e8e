"""Converters: ADCs (chosen by the published cost model that describes them) and DACs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cimsim.config.bounds import (
    AGE_S,
    AREA_UM2,
    CLOCK_GHZ,
    COMMON_GAIN,
    DECADE_SHARE,
    ENERGY_FJ,
    ENERGY_PJ,
    LEVELS,
    LSB,
    LSB_PER_C,
    PER_C,
    POWER_UW,
    RATE_GSPS,
    READ_NS,
    SIGMA,
    TEMPERATURE_C,
)
from cimsim.config.measured import MOST_ROWS, ConverterRow, fault_of_converter, refuse_fault
from cimsim.config.section import Section, equals, knob

STRAIGHT = "straight"  # transfer curve of a converter whose codes are proportional to its input


class AutoRange(Section):
    """Range of least error on calibration text, per matrix, as a chip's bring-up finds it."""

    kind: Literal["auto"] = "auto"


class FullRange(Section):
    """Range that covers every column sum that can occur."""

    kind: Literal["full"] = "full"


class PercentileRange(Section):
    """Range that covers a share of the column sums seen on calibration text."""

    kind: Literal["percentile"] = "percentile"
    percentile: float = knob(
        99.9, "Share of absolute column sums inside the range, per matrix.", unit="%", gt=50, le=100
    )


class FixedRange(Section):
    """Range fixed by design."""

    kind: Literal["fixed"] = "fixed"
    levels: float = knob(
        ..., "Top of the range in units of one cell level.", unit="level", within=LEVELS
    )


AnyRange = Annotated[
    AutoRange | FullRange | PercentileRange | FixedRange, Field(discriminator="kind")
]


class ConverterDrift(Section):
    """How converters leave what they were at when they were trimmed, with warmth and time.

    A converter's own share is drawn once and grows with T - calibrated_c, and with the decades
    log10(1 + calibrated_for_s / t0_s) since then; the reference moves all converters alike.
    """

    calibrated_c: float = knob(
        25.0,
        "Temperature at which converters were trimmed and their ranges and digital scales set; "
        "what the temperature of the chip does to cells counts from it as well.",
        unit="C",
        within=TEMPERATURE_C,
    )
    calibrated_for_s: float = knob(
        0.0, "Time since converters were trimmed.", unit="s", ge=0, within=AGE_S
    )
    t0_s: float = knob(
        3600.0, "Time after trimming at which drift with time sets in.", unit="s", within=AGE_S
    )
    offset_lsb_per_c: float = knob(
        0.0,
        "Std of each converter's change of offset with temperature.",
        unit="LSB/C",
        ge=0,
        within=LSB_PER_C,
    )
    gain_per_c: float = knob(
        0.0,
        "Std of each converter's relative change of gain with temperature.",
        unit="1/C",
        ge=0,
        le=PER_C.most,
    )
    reference_per_c: float = knob(
        0.0,
        "Relative change of the gain that all converters share, from their reference; published "
        "outputs of a temperature-compensated array move by less than 3 % from 25 to 85 C.",
        unit="1/C",
        within=PER_C,
    )
    offset_lsb_per_decade: float = knob(
        0.0,
        "Std of each converter's change of offset per decade of time.",
        unit="LSB",
        ge=0,
        within=LSB,
    )
    gain_per_decade: float = knob(
        0.0,
        "Std of each converter's relative change of gain per decade of time.",
        ge=0,
        within=DECADE_SHARE,
    )


class Adc(Section):
    """What every ADC kind has; kinds differ in where energy and area come from."""

    bits: int = knob(8, "Bits of an output code.", unit="bit", ge=1, le=16)
    enob: float | None = knob(
        None,
        "Effective bits: sets energy, and noise where below bits; null means bits.",
        unit="bit",
        ge=1,
        le=16,
    )
    rate_gsps: float = knob(
        1.28, "Conversions per second of one ADC.", unit="GS/s", within=RATE_GSPS
    )
    per_pe: int = knob(8, "ADCs in a PE, shared by its crossbars.", ge=1, le=65536)
    range: AnyRange = Field(
        AutoRange(), description="Input range of the ADC; auto: of least error on calibration text."
    )
    offset_lsb: float = knob(
        0.0, "Std of each converter's frozen offset.", unit="LSB", ge=0, within=LSB
    )
    gain_sigma: float = knob(
        0.0, "Std of each converter's frozen relative gain error.", ge=0, within=SIGMA
    )
    inl_lsb: float = knob(
        0.0, "Peak of each converter's frozen bow-shaped INL.", unit="LSB", ge=0, within=LSB
    )
    reference_gain: float = knob(
        1.0,
        "Gain that all converters share: nominal over true reference voltage.",
        within=COMMON_GAIN,
        late=True,
    )
    drift: ConverterDrift = Field(
        ConverterDrift(),
        description="Change of converters with temperature and time since they were trimmed.",
        exclude_if=equals(ConverterDrift()),
    )
    curve: str = knob(
        STRAIGHT,
        "Transfer curve that all converters share: straight, or a registered one.",
        late=True,
    )
    noise_lsb: float = knob(
        0.0, "Std of fresh input noise of a conversion.", unit="LSB", ge=0, within=LSB
    )
    search: Literal["binary", "lsb_first"] = knob(
        "binary",
        "How a successive approximation finds a code: by halves from the highest bit, in as many "
        "comparisons as it has bits, or from 0 by doubling steps and then by halves, so that small "
        "codes take few comparisons and large ones more; energy follows, the rate does not.",
        late=True,
    )


class RegressionAdc(Adc):
    """Regression over ENOB, rate and node of the Murmann survey (arXiv 2404.06553)."""

    kind: Literal["regression"] = "regression"
    optimism: Literal["best", "q20", "median"] = knob(
        "q20", "Which quantile of the surveyed ADCs: x0.8, x1 or x2.7 energy."
    )


class SarTableAdc(Adc):
    """Table of SAR converters by bits (Saberi)."""

    kind: Literal["sar_table"] = "sar_table"


class IsaacAdc(Adc):
    """The 8-bit 1.28 GS/s SAR of ISAAC's Table I, halved or doubled per bit."""

    kind: Literal["isaac"] = "isaac"


class ZigzagAdc(Adc):
    """Fit on three 28 nm SRAM analog chips (ZigZag-IMC)."""

    kind: Literal["zigzag"] = "zigzag"


class WaldenAdc(Adc):
    """Walden figure of merit: energy = FOM x 2^ENOB."""

    kind: Literal["walden"] = "walden"
    fom_fj: float = knob(20.0, "Energy per conversion step.", unit="fJ/step", within=ENERGY_FJ)
    area_um2: float = knob(..., "Area of one ADC.", unit="um2", within=AREA_UM2)


class SchreierAdc(Adc):
    """Schreier figure of merit: energy from SNDR."""

    kind: Literal["schreier"] = "schreier"
    fom_db: Annotated[float, Field(lt=200)] = knob(
        170.0, "Schreier figure of merit.", unit="dB", gt=100
    )
    area_um2: float = knob(..., "Area of one ADC.", unit="um2", within=AREA_UM2)


class TypedAdc(Adc):
    """A converter whose energy and area are typed."""

    energy_pj: float = knob(..., "Energy per conversion.", unit="pJ", within=ENERGY_PJ)
    area_um2: float = knob(..., "Area of one ADC.", unit="um2", within=AREA_UM2)
    leakage_uw: float | None = knob(
        None, "Static power of one ADC; null means not modelled.", unit="uW", ge=0, within=POWER_UW
    )
    source: str = knob(..., "Where these numbers come from.")


class TableAdc(TypedAdc):
    """The user's own numbers."""

    kind: Literal["table"] = "table"


class MeasuredAdc(TypedAdc):
    """A laboratory's own transfer curve with its noise, and typed energy and area."""

    kind: Literal["measured"] = "measured"
    file: str | None = knob(
        None,
        "CSV file of a measured converter, relative to this chip file: input_frac, code_lsb, "
        "noise_lsb from one end of the range to the other; codes are linear between inputs, and "
        "every conversion has the mean noise power over the range. Resolved files hold its rows.",
        late=True,
    )
    rows: tuple[ConverterRow, ...] = Field(
        (),
        max_length=MOST_ROWS,
        description="What the file holds: input_frac, code_lsb, noise_lsb.",
        json_schema_extra={"unit": "LSB"},
    )

    @model_validator(mode="after")
    def _sound(self) -> MeasuredAdc:
        """Refuse no table, codes beyond the bits, and knobs that would say again what it says."""
        refuse_fault(self.rows, fault_of_converter)
        last = self.rows[-1][1]
        if last > (1 << self.bits) - 1:
            message = f"the measurements reach code {last:g}, beyond its {self.bits} bits"
            raise ValueError(message)
        said = "curve" if self.curve != STRAIGHT else "noise_lsb" if self.noise_lsb else None
        if said is not None:
            message = f"{said} is not for a measured converter: the table says it; leave it out"
            raise ValueError(message)
        return self


class _WithoutSearch(Adc):
    """A converter that approximates nothing step by step."""

    @model_validator(mode="after")
    def _searches_nothing(self) -> _WithoutSearch:
        if self.search != "binary":
            message = (
                f"search {self.search} is for successive approximation; a {self.kind} converter "  # type: ignore[attr-defined]
                "has none"
            )
            raise ValueError(message)
        return self


class FlashAdc(_WithoutSearch):
    """A comparator for each step, all at once: what few bits are converted by."""

    kind: Literal["flash"] = "flash"


class CounterAdc(_WithoutSearch):
    """Time-based: a ramp or an integrator and a comparator stop a counter."""

    kind: Literal["counter"] = "counter"
    clock_ghz: float = knob(..., "Clock of the counter.", unit="GHz", within=CLOCK_GHZ)
    static_uw: float = knob(
        ...,
        "Power of ramp or integrator and comparator while one conversion lasts.",
        unit="uW",
        ge=0,
        within=POWER_UW,
    )


AnyAdc = Annotated[
    RegressionAdc
    | SarTableAdc
    | IsaacAdc
    | ZigzagAdc
    | WaldenAdc
    | SchreierAdc
    | TableAdc
    | MeasuredAdc
    | FlashAdc
    | CounterAdc,
    Field(discriminator="kind"),
]


class Dac(Section):
    """Row drivers: bits of the input that one cycle applies."""

    kind: Literal["voltage", "pwm"] = knob(
        "voltage", "Level-coded (one step per cycle) or pulse-width coded (2^bits - 1 unit times)."
    )
    bits: int = knob(1, "Bits of an input applied in one cycle.", unit="bit", ge=1, le=8)
    unit_ns: float = knob(1.0, "Length of one unit pulse (pwm only).", unit="ns", within=READ_NS)
    recovery_bits: int | None = knob(
        None,
        "Bits of an input that a recovery cycle applies: a column whose code of a cycle of `bits` "
        "bits lies at an end of the range is converted again in cycles of these, which always run "
        "(speculation and recovery as RAELLA does); null converts no column again.",
        unit="bit",
        ge=1,
        le=7,
        late=True,
    )

    @model_validator(mode="after")
    def _recovers_in_narrower_cycles(self) -> Dac:
        again = self.recovery_bits
        if again is None:
            return self
        if again >= self.bits:
            message = (
                f"recovery_bits, {again}, must be less than bits, {self.bits}: a recovery cycle "
                "applies fewer bits than the cycle that it repeats"
            )
            raise ValueError(message)
        if self.kind != "pwm":
            message = (
                "recovery_bits needs kind pwm: one pulse weighs alike in both kinds of cycles, "
                "where a level would have to be lowered"
            )
            raise ValueError(message)
        return self
