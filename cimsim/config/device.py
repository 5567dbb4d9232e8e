"""Memory devices: how a cell stores a level and how it errs.

A device is chosen by `kind`. Its physics (programming noise, drift, read noise, stuck
cells, temperature) is evaluated in `cimsim.mac`; the cost of writing it in `cimsim.cost`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cimsim.config.bounds import (
    AGE_S,
    CONDUCTANCE_US,
    ENDURANCE,
    ENERGY_PJ,
    LEVELS,
    PULSES,
    SIGMA,
    THRESHOLD_MV_PER_C,
    WRITE_NS,
)
from cimsim.config.measured import MOST_ROWS, CellRow, CellUnit, fault_of_cells, refuse_fault
from cimsim.config.section import Section, knob

SigmaUnit = Literal["weight_lsb", "cell_level", "us", "frac_gmax"]


class ReadNoise(Section):
    """Fresh Gaussian noise of every cell at every read, white between reads."""

    sigma: float = knob(
        0.0, "Standard deviation of one cell's read noise.", unit="sigma_unit", ge=0, within=SIGMA
    )
    sigma_unit: Literal["cell_level", "us", "frac_gmax"] = knob(
        "cell_level", "Unit in which sigma is given."
    )
    scaling: Literal["constant", "sqrt", "proportional", "saturating"] = knob(
        "constant",
        "How sigma grows with conductance: constant, variance proportional to G, sigma "
        "proportional to G, or sigma (1 - exp(-G / knee)), as measured on SONOS cells.",
    )
    knee: float = knob(
        0.0673,
        "Conductance over g_max at which saturating sigma has reached 63 %; SONOS: 215.4 nA of "
        "3200 nA, with a sigma of 12.58 nA.",
        ge=1e-6,
        le=1000,
    )


class Drift(Section):
    """Power-law loss of conductance, G(t) = G (1 + t / t0)^-|nu|, of any kind of device."""

    nu: float = knob(0.0, "Mean drift exponent; 0 leaves it to the device kind.", ge=0, le=1)
    nu_sigma: float = knob(0.0, "Std of the exponent between cells.", ge=0, le=1)
    t0_s: float = knob(1.0, "Time of the first read after programming.", unit="s", within=AGE_S)


class Temperature(Section):
    """How named quantities change with temperature: factor 1 + value (T - 25 C)."""

    sigma_per_c: float = knob(
        0.0, "Relative change of the programming error.", unit="1/C", ge=-0.01, le=0.1
    )
    read_noise_per_c: float = knob(
        0.0, "Relative change of the read noise's sigma.", unit="1/C", ge=-0.01, le=0.1
    )
    conductance_per_c: float = knob(
        0.0, "Relative change of every conductance.", unit="1/C", ge=-0.01, le=0.01
    )
    shift_level_per_c: float = knob(
        0.0,
        "Change of the mean error of every cell (shift_level).",
        unit="level/C",
        ge=-10,
        le=10,
        late=True,
    )


class Verify(Section):
    """Program and verify: a cell is written again until it is near enough to its target."""

    tolerance: float | None = knob(
        None,
        "Greatest accepted error of a written cell; null means that writes are not verified.",
        unit="level",
        within=LEVELS,
    )
    attempts: int = knob(
        8,
        "Most writes of a cell; the last one stays. programming.pulses is their cost.",
        ge=1,
        le=64,
    )


class Programming(Section):
    """Writing weights into cells."""

    rows_parallel: int = knob(1, "Rows written at once in one crossbar.", ge=1, le=8192)
    pulses: float = knob(
        1.0, "Mean write pulses per cell, verify iterations included.", within=PULSES
    )
    pulse_ns: float = knob(10.0, "Length of a write pulse.", unit="ns", within=WRITE_NS)
    verify_ns: float = knob(
        0.0, "Time of the verifying read after a pulse.", unit="ns", ge=0, within=WRITE_NS
    )
    erase_ns: float = knob(
        0.0, "Time to erase a crossbar before it is written.", unit="ns", ge=0, within=WRITE_NS
    )
    pulse_energy_pj: float = knob(
        0.6, "Energy of one write pulse in one cell.", unit="pJ", ge=0, within=ENERGY_PJ
    )
    verify_energy_pj: float | None = knob(
        None,
        "Energy of one verifying read of a cell; null takes the cell's current for verify_ns "
        "and one conversion.",
        unit="pJ",
        ge=0,
        within=ENERGY_PJ,
    )
    erase_energy_pj: float | None = knob(
        None,
        "Energy to erase one cell; null where erasing is not charged.",
        unit="pJ",
        ge=0,
        within=ENERGY_PJ,
    )
    endurance: float | None = knob(
        None, "Writes that a cell survives; null means unlimited.", unit="writes", within=ENDURANCE
    )
    source: str = knob("assumed", "Where these numbers come from.")


class Device(Section):
    """What every device kind has."""

    technology: Literal["reram", "pcm", "eflash", "sram"] = knob(
        "reram", "Storage technology: selects cell area, read energy and write cost."
    )
    cell_bits: int = knob(
        2, "Bits of a weight stored in one cell (a slice).", unit="bit", ge=1, le=8
    )
    g_max_us: float = knob(
        25.0, "Conductance of the highest level.", unit="uS", within=CONDUCTANCE_US
    )
    on_off_ratio: float | None = knob(
        None,
        "Highest over lowest conductance; null means the lowest level conducts nothing.",
        gt=1,
        le=1e12,
    )
    age_s: float = knob(
        0.0, "Age of every crossbar when the run starts.", unit="s", ge=0, within=AGE_S
    )
    drift_compensation: Literal["none", "global"] = knob(
        "none", "Digital gain that restores the mean conductance of each crossbar after drift."
    )
    stuck_low: float = knob(0.0, "Fraction of cells stuck at the lowest level.", ge=0, le=1)
    stuck_high: float = knob(0.0, "Fraction of cells stuck at the highest level.", ge=0, le=1)
    shift_level: float = knob(
        0.0,
        "Mean error of every written cell, the lowest level included; it cancels in pairs, but "
        "not below zero conductance.",
        unit="level",
        ge=-256,
        le=256,
        late=True,
    )
    verify: Verify = Field(Verify(), description="Whether writes are verified.")
    read_noise: ReadNoise = Field(ReadNoise(), description="Noise of every read.")
    drift: Drift = Field(Drift(), description="Loss of conductance with time.")
    temperature: Temperature = Field(
        Temperature(), description="What temperature changes; measured or assumed by the user."
    )
    programming: Programming = Field(Programming(), description="Cost of writing cells.")


class IdealDevice(Device):
    """Cells that hold their level exactly."""

    kind: Literal["ideal"] = "ideal"


class GaussianDevice(Device):
    """Frozen Gaussian programming error with one sigma for all levels."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float = knob(
        ..., "Standard deviation of the programming error.", unit="sigma_unit", ge=0, within=SIGMA
    )
    sigma_unit: SigmaUnit = knob(
        ...,
        "Where sigma applies: weight_lsb (the recovered signed integer weight, only where one "
        "cell or pair holds the whole weight), cell_level, us, or frac_gmax.",
    )
    scaling: Literal["constant", "proportional"] = knob(
        "constant", "Same sigma at every level, or sigma proportional to the level."
    )


class PcmDevice(Device):
    """Phase-change memory: level-dependent programming noise, drift and 1/f noise."""

    kind: Literal["pcm"] = "pcm"
    profile: Literal["aihwkit", "hermes_1dev", "hermes_2dev", "joshi", "afm"] = knob(
        "aihwkit", "Published polynomial of sigma against level."
    )


class ReramDevice(Device):
    """Resistive memory: level-dependent programming noise at a read-back time."""

    kind: Literal["reram"] = "reram"
    profile: Literal["wan_1s", "wan_1d", "wan_2d", "milo", "wan_crosssim"] = knob(
        "wan_1s", "Published polynomial of sigma against level."
    )


class EflashDevice(Device):
    """Embedded flash after measured read-back errors of a 40 nm chip, in weight LSB."""

    kind: Literal["eflash"] = "eflash"
    profile: Literal["25c", "80c_assumed", "sonos_0d", "sonos_1d", "sonos_5d"] = knob(
        "25c", "Measured anchors at 25 C; the 80 C profile is assumed, not measured."
    )
    sigma_lsb: float = knob(
        2.2,
        "Read-back error of a programmed int8 weight at 25 C (25c and 80c_assumed).",
        unit="LSB",
        ge=0,
        within=SIGMA,
    )
    mean_lsb: float = knob(
        0.0,
        "Mean read-back error of a programmed int8 weight of 0, the same for all weights "
        "(25c and 80c_assumed); the intercept of read-back against target, measured -0.04 to "
        "0.26 LSB per layer.",
        unit="LSB",
        ge=-128,
        le=128,
    )
    gain: float = knob(
        1.0,
        "Slope of read-back against target of a programmed weight (25c and 80c_assumed); "
        "measured 0.98 to 1.00 per layer.",
        gt=0,
        le=2,
    )
    temperature_factor: float = knob(
        1.5, "Assumed multiplier of sigma at 80 C against 25 C (80c_assumed only).", ge=1, le=5
    )
    threshold_mv_per_c: float = knob(
        0.0,
        "Change of the threshold voltage of every cell, which a bias circuit does not follow; "
        "silicon transistors lose 0.5 to 2 mV/C.",
        unit="mV/C",
        within=THRESHOLD_MV_PER_C,
        late=True,
    )
    slope_factor: float = knob(
        1.5,
        "Sub-threshold slope factor n: the current of a cell is proportional to "
        "exp(-V_threshold / (n kT/q)).",
        ge=1,
        le=5,
        late=True,
    )


class MeasuredDevice(Device):
    """Cells after a laboratory's own table: mean and spread by target, time and temperature."""

    kind: Literal["measured"] = "measured"
    file: str | None = knob(
        None,
        "CSV file of measured cells, relative to this chip file: time_s, temperature_c, target, "
        "mean, sigma. Linear between targets and temperatures, linear in the logarithm of time; "
        "nothing beyond them, but cells younger than the first time are as then. A cell keeps its "
        "rank. Resolved files hold its rows.",
        late=True,
    )
    unit: CellUnit = knob(
        "us", "Of target, mean and sigma of the rows: uS, fractions of g_max_us, or levels."
    )
    rows: tuple[CellRow, ...] = Field(
        (),
        max_length=MOST_ROWS,
        description="What the file holds: time_s, temperature_c, target, mean, sigma.",
        json_schema_extra={"unit": "unit"},
    )

    @model_validator(mode="after")
    def _sound(self) -> MeasuredDevice:
        """Refuse no table, and knobs that would say again what a table says."""
        refuse_fault(self.rows, fault_of_cells)
        warmth = self.temperature
        again = {
            "drift.nu": self.drift.nu or self.drift.nu_sigma,
            "temperature.sigma_per_c": warmth.sigma_per_c,
            "temperature.conductance_per_c": warmth.conductance_per_c,
            "temperature.shift_level_per_c": warmth.shift_level_per_c,
            "verify.tolerance": self.verify.tolerance,
        }
        said = next((name for name, value in again.items() if value), None)
        if said is not None:
            message = f"{said} is not for measured cells: the table says it; leave it out"
            raise ValueError(message)
        return self


class CustomDevice(Device):
    """A device model of the user's own, registered with `cimsim.mac.register_device`."""

    kind: Literal["custom"] = "custom"
    model: str = knob(..., "Name under which the model is registered.")
    module: str | None = knob(
        None,
        "Installed Python module that registers it when imported; a file of one's own is given as "
        "--plugin FILE, without a module.",
    )
    parameters: dict[str, Annotated[float, Field(ge=-1e30, le=1e30)]] = Field(
        {},
        max_length=256,
        description="Numbers that the model reads.",
        json_schema_extra={"unit": "1"},
    )


AnyDevice = Annotated[
    IdealDevice
    | GaussianDevice
    | PcmDevice
    | ReramDevice
    | EflashDevice
    | MeasuredDevice
    | CustomDevice,
    Field(discriminator="kind"),
]
