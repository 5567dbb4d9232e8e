"""Cost overrides: what a chip file may say about the cost of its components.

Every component has a model of its own (`cimsim.cost`). A chip file can replace the unit
energy, area or leakage of one (`overrides`), or charge a published table of powers
(`tables`): a table power is energy = power x busy time and never also leakage.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cimsim.config.bounds import (
    AREA_MM2,
    AREA_UM2,
    ENERGY_FJ,
    FACTOR,
    POWER_MW,
    POWER_UW,
    READ_NS,
    WRITE_NS,
)
from cimsim.config.section import Section, knob

IdlePolicy = Literal["gated", "clock_gated", "on"]


class Override(Section):
    """The user's own unit costs of one component; null keeps the model's value."""

    energy_fj: float | None = knob(None, "Energy of one action.", unit="fJ", ge=0, within=ENERGY_FJ)
    energy_scale: float = knob(1.0, "Factor on the energy of one action.", ge=0, within=FACTOR)
    area_um2: float | None = knob(None, "Area of one instance.", unit="um2", ge=0, within=AREA_UM2)
    leakage_uw: float | None = knob(
        None, "Static power of one instance.", unit="uW", ge=0, within=POWER_UW
    )
    at_vdd_v: float | None = knob(
        None,
        "Supply at which energy_fj was measured: it then scales with the square of "
        "technology.vdd_v; null means technology.typed_at_vdd_v.",
        unit="V",
        ge=0.1,
        le=5,
    )
    source: str = knob("user", "Where these numbers come from.")


class PowerTable(Section):
    """One row of a published power and area table."""

    power_mw: float = knob(
        ..., "Power of one group while it is busy.", unit="mW", ge=0, within=POWER_MW
    )
    area_mm2: float = knob(..., "Area of one group.", unit="mm2", ge=0, within=AREA_MM2)
    per: Literal["tile", "chip"] = knob(
        "tile", "A group of a tile is busy with its tile; one of the chip is always on."
    )
    groups: float = knob(
        1.0, "Groups in a tile or chip; 0.25 if four tiles share one.", within=FACTOR
    )
    covers: tuple[str, ...] = knob(
        (), "Components that the row includes; they are charged nothing of their own."
    )
    source: str = knob(..., "Where the row comes from.")


class Idle(Section):
    """What blocks do while they have no work.

    Gated blocks draw nothing, clock-gated ones leak, and blocks that stay on leak too and
    keep their clock. Tiles that hold no weight are always gated.
    """

    tile: IdlePolicy = knob("clock_gated", "Tiles that hold weights: buffers and PEs.")
    adc: IdlePolicy = knob("gated", "ADCs of a tile without a visit.")
    digital: IdlePolicy = knob("clock_gated", "Digital units and their KV memory.")
    noc: IdlePolicy = knob("clock_gated", "Routers.")


class Cost(Section):
    """What a chip file says about costs; everything has a default."""

    drive_ns: float | None = knob(
        None,
        "Time that rows are driven in one read (analog resistive cells, level-coded DAC); "
        "null means tile.crossbar.read_ns.",
        unit="ns",
        within=READ_NS,
    )
    cell_cap_ff: float = knob(
        3.0, "Switched capacitance of a charge-domain SRAM cell.", unit="fF", ge=1e-3, le=1000
    )
    cell_area_um2: float | None = knob(
        None,
        "Area of one cell; null takes F2 of the storage technology.",
        unit="um2",
        within=AREA_UM2,
    )
    input_bit_density: float | None = knob(
        None,
        "Mean input code over the greatest that read energy is charged at, e.g. the density of a "
        "publication; null takes what a run measured, without a run a documented default.",
        ge=0,
        le=1,
    )
    mean_level_fraction: float | None = knob(
        None,
        "Mean conductance over the greatest (SRAM: share of ones) that read energy is charged at; "
        "null takes what a run measured, without a run a documented default.",
        ge=0,
        le=1,
    )
    skipped_share: float | None = knob(
        None,
        "Share of reads that tile.input.skip_zeros leaves out, at which energy is charged; null "
        "takes what a run measured, without a run none.",
        ge=0,
        le=1,
        late=True,
    )
    recovered_share: float | None = knob(
        None,
        "Share of the conversions of recovery cycles (tile.dac.recovery_bits) that are made, at "
        "which energy is charged; null takes what a run measured, without a run that of RAELLA.",
        ge=0,
        le=1,
        late=True,
    )
    search_cycles: float | None = knob(
        None,
        "Mean comparisons of a conversion that tile.adc.search lsb_first takes, at which energy is "
        "charged; null takes what a run measured, without a run those of a binary search.",
        gt=0,
        le=64,
        late=True,
    )
    booth: bool = knob(
        False,  # noqa: FBT003 - the default of a knob
        "Digital crossbars: radix-4 Booth recoding lets two input bits share one adder tree.",
    )
    cells_per_product: int = knob(
        1, "Digital crossbars: stored weight bits that take turns at one product gate.", ge=1, le=64
    )
    tree_registers: int = knob(
        0,
        "Digital crossbars: ranks of registers that cut an adder tree into parts that work side "
        "by side; a read then takes the time of the longest part and of a register.",
        ge=0,
        le=13,
        late=True,
    )
    register_ns: float | None = knob(
        None,
        "Set-up and output time of such a register.",
        unit="ns",
        within=READ_NS,
        late=True,
    )
    digital_bit_fj: float | None = knob(
        None,
        "Measured energy of a digital crossbar per row, output, weight bit and input bit; null "
        "takes the gate model.",
        unit="fJ",
        ge=0,
        within=ENERGY_FJ,
    )
    digital_row_fj: float = knob(
        0.0,
        "Measured energy of a digital crossbar per row, output and cycle beside digital_bit_fj.",
        unit="fJ",
        ge=0,
        within=ENERGY_FJ,
    )
    input_scale: Literal["free", "charged"] = knob(
        "free",
        "Whether energy, time and area of bringing inputs to their codes are charged: the greatest "
        "magnitude of a vector and the product of every input (tile.input.scale); free takes "
        "them as part of what makes the inputs.",
        late=True,
    )
    stage_interval_ns: float | None = knob(
        None,
        "Published time of one pipeline stage; null derives it from read and conversion. ADCs that "
        "need longer take longer.",
        unit="ns",
        within=WRITE_NS,
    )
    leakage_at_vdd_v: float | None = knob(
        None,
        "Supply at which leakages hold, typed or of a model; at another "
        "technology.vdd_v they follow the leakage law. Null means technology.vdd_v.",
        unit="V",
        gt=0.3,
        le=3.3,
        late=True,
    )
    scope: Literal["parts", "macro", "system"] = knob(
        "parts",
        "What figures include: the modelled parts alone, also the control of a macro, "
        "or also what a whole chip draws beside its macros, by shares of published chips.",
        late=True,
    )
    control_share: float | None = knob(
        None,
        "Share of a macro's energy that its control takes (scope macro and system); "
        "null takes that of a published macro.",
        ge=0,
        le=0.95,
        late=True,
    )
    control_area_share: float | None = knob(
        None,
        "Share of a macro's area that control, registers and routing take (scope macro "
        "and system); null takes that of a published macro.",
        ge=0,
        le=0.95,
        late=True,
    )
    system_factor: float | None = knob(
        None,
        "Energy of a whole chip over that of its macros (scope system); null takes "
        "that of a published chip.",
        ge=1,
        le=100,
        late=True,
    )
    idle: Idle = Field(Idle(), description="Idle policies.")
    companion: tuple[Literal["digital", "memory"], ...] = knob(
        (), "Blocks that the published chip does not have; their rows say so."
    )
    exclude: tuple[str, ...] = knob(
        (), "Components that the published figures do not include; charged nothing, and named."
    )
    overrides: dict[str, Override] = Field(
        default={},
        description="Unit costs by component name.",
        json_schema_extra={"unit": "1"},
    )
    tables: dict[str, PowerTable] = Field(
        default={},
        description="Published table rows by component name; a new name adds a component.",
        json_schema_extra={"unit": "1"},
    )

    @model_validator(mode="after")
    def _registers_take_time(self) -> Cost:
        if self.tree_registers and self.register_ns is None:
            message = "tree_registers needs register_ns, the set-up and output time of a register"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _never_both(self) -> Cost:
        both = sorted(set(self.overrides) & set(self.tables))
        if both:
            message = f"{both[0]} is given in overrides and in tables; keep one"
            raise ValueError(message)
        return self
