"""ADCs: energy, area and leakage of one converter by the model its `kind` names.

The models disagree two- to eightfold for the same bits, so every output says which one
was used. ENOB, not nominal bits, sets energy.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil

from cimsim.config.converter import (
    AnyAdc,
    CounterAdc,
    FlashAdc,
    IsaacAdc,
    RegressionAdc,
    SarTableAdc,
    SchreierAdc,
    TypedAdc,
    WaldenAdc,
    ZigzagAdc,
)
from cimsim.config.tile import Tile
from cimsim.cost.adc_fits import (
    ENERGY,
    FOM_ENOB,
    FOM_SPEED,
    regression_pj,
    regression_um2,
    thermal_limit_fj,
    zigzag_delay_ns,
    zigzag_pj,
    zigzag_um2,
)
from cimsim.cost.comparator_adc import CONSTANTS as FEW_BITS
from cimsim.cost.comparator_adc import counter_cost, flash_cost
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.elementary import exp, power
from cimsim.errors import CimsimError
from cimsim.units import FJ_PER_PJ

__all__ = ["CONSTANTS", "model_curves", "price_adc"]

_SURVEY = "regression on the Murmann ADC survey 1997-2025 (hwcomponents-adc, arXiv 2404.06553)"
_SABERI = "Saberi SAR table (hwcomponents-library)"
_ISAAC = "ISAAC, ISCA 2016, Table I, doi:10.1109/ISCA.2016.12"
_ZIGZAG = "ZigZag-IMC fit on three 28 nm SRAM analog chips"

_DYNAMIC_SHARE = 0.8
_OPTIMISM = {"best": 0.8, "q20": 1.0, "median": 2.7}
_NODE_RANGE_NM = (5.0, 130.0)
_MIN_ENOB = 4.0
# Resolution of the surveyed ADCs; above it the fit has no support.
_MAX_ENOB = 14.0

_SAR_BITS = (4, 5, 6, 7, 8, 9, 10)
_SAR_PJ = (0.79, 0.99, 1.20, 1.42, 1.67, 1.97, 2.38)
_SAR_UM2 = (361.0, 477.0, 627.0, 845.0, 1200.0, 1828.0, 3002.0)

_ISAAC_MW, _ISAAC_GSPS, _ISAAC_UM2 = 16.0 / 8, 1.28, 1200.0

CONSTANTS = (
    Constant("adc.regression_fom_speed", FOM_SPEED[0], "dB", _SURVEY, None, "A"),
    Constant("adc.regression_fom_slope", FOM_SPEED[1], "dB/ln(S/s)", _SURVEY, None, "A"),
    Constant("adc.regression_fom_enob", FOM_ENOB[0], "dB", _SURVEY, None, "A"),
    Constant("adc.regression_fom_enob_slope", FOM_ENOB[1], "dB/bit", _SURVEY, None, "A"),
    Constant("adc.regression_node_exponent", ENERGY[1], "1", _SURVEY, None, "A"),
    Constant(
        "adc.regression_dynamic_share",
        _DYNAMIC_SHARE,
        "1",
        _SURVEY,
        None,
        "A",
        "a fifth of the energy is static: leakage power = 0.2 E f while the ADC is on",
    ),
    *(
        Constant(f"adc.sar_table_{b}b_energy", e, "pJ/conversion", _SABERI, 32.0, "A")
        for b, e in zip(_SAR_BITS, _SAR_PJ, strict=True)
    ),
    *(
        Constant(f"adc.sar_table_{b}b_area", a, "um2", _SABERI, 32.0, "A")
        for b, a in zip(_SAR_BITS, _SAR_UM2, strict=True)
    ),
    Constant("adc.isaac_power", _ISAAC_MW, "mW", _ISAAC, 32.0, "C", "16 mW for 8 ADCs"),
    Constant("adc.isaac_rate", _ISAAC_GSPS, "GS/s", _ISAAC, 32.0, "C"),
    Constant(
        "adc.isaac_area",
        _ISAAC_UM2,
        "um2",
        _ISAAC,
        32.0,
        "C",
        "0.0096 mm2 for 8; a fifth of what the regression gives",
    ),
    Constant("adc.zigzag_cap_linear", 100.0, "fF/bit", _ZIGZAG, 28.0, "A"),
    Constant("adc.zigzag_cap_quad", 0.001, "fF/4^bit", _ZIGZAG, 28.0, "A"),
    Constant("adc.zigzag_area_slope", -0.0369, "log10(um2)/bit", _ZIGZAG, 28.0, "A"),
    Constant("adc.zigzag_area_offset", 1.206, "log10(um2)", _ZIGZAG, 28.0, "A"),
)


def price_adc(tile: Tile, node_nm: float, vdd_v: float) -> Price:
    """Return the cost of one ADC of a tile by the model that its kind names.

    Raises:
        CimsimError: if the ADC is outside its model's range.
    """
    adc = tile.adc
    if isinstance(adc, RegressionAdc):
        price = _regression(adc, node_nm)
    elif isinstance(adc, SarTableAdc):
        price = _sar_table(adc, node_nm)
    elif isinstance(adc, IsaacAdc):
        price = _isaac(adc, node_nm)
    elif isinstance(adc, ZigzagAdc):
        price = _zigzag(adc, node_nm, vdd_v, tile.crossbar.rows)
    elif isinstance(adc, WaldenAdc | SchreierAdc):
        price = _figure_of_merit(adc)
    elif isinstance(adc, FlashAdc):
        price = _price(*flash_cost(adc, node_nm, vdd_v), None, "flash", FEW_BITS[:2])
    elif isinstance(adc, CounterAdc):
        price = _price(*counter_cost(adc, node_nm, vdd_v), None, "counter", FEW_BITS[1:])
    else:
        price = _table(adc)
    limit = thermal_limit_fj(effective_bits(adc))
    if (price.energy_fj or 0.0) >= limit:
        return price
    note = f"extrapolated: ADC energy below the thermal limit of {limit:.3g} fJ per conversion"
    return replace(price, notes=(*price.notes, note))


def effective_bits(adc: AnyAdc) -> float:
    """Return ENOB: as given, or the nominal bits."""
    return float(adc.bits if adc.enob is None else adc.enob)


def model_curves() -> dict[str, list[tuple[float, float]]]:
    """Return (bits, pJ per conversion) of every model over 4 to 10 bits, at 1 GS/s and 32 nm."""
    whole = [float(b) for b in range(4, 11)]
    dynamic = [_DYNAMIC_SHARE * regression_pj(b, 32.0, 1.0) for b in whole]
    return {
        "regression, dynamic": list(zip(whole, dynamic, strict=True)),
        "sar_table": list(zip(whole, _SAR_PJ, strict=True)),
        "isaac": [(b, _ISAAC_MW / _ISAAC_GSPS * 2.0 ** (b - 8)) for b in whole],
        "zigzag": [(b, zigzag_pj(b, 0.9)) for b in whole],
        "walden, 20 fJ per step": [(b, 20e-3 * 2.0**b) for b in whole],
    }


def _regression(adc: RegressionAdc, node_nm: float) -> Price:
    enob = effective_bits(adc)
    if enob < _MIN_ENOB:
        raise CimsimError(
            "the survey regression has no ADC below 4 effective bits",
            key="tile.adc.enob",
            value=enob,
            allowed=f">= {_MIN_ENOB:g} ({_SURVEY})",
            hint="take kind zigzag, walden or table",
        )
    notes = []
    if enob > _MAX_ENOB:
        notes.append(f"extrapolated: {enob:g} effective bits above {_MAX_ENOB:g} of the survey")
    if not _NODE_RANGE_NM[0] <= node_nm <= _NODE_RANGE_NM[1]:
        notes.append(f"extrapolated: {node_nm:g} nm outside 5 to 130 nm of the survey")
    corner = (FOM_SPEED[0] - FOM_ENOB[0] - FOM_ENOB[1] * ceil(enob)) / FOM_SPEED[1]
    corner_gsps = exp(corner) / 1e9
    if adc.rate_gsps > corner_gsps:
        notes.append(
            f"ADC rate above the corner {corner_gsps:.3g} GS/s: energy grows as f^0.66; interleave"
        )
    energy = regression_pj(enob, node_nm, adc.rate_gsps)
    area = regression_um2(energy, node_nm, adc.rate_gsps)
    energy *= _OPTIMISM[adc.optimism]
    dynamic = _DYNAMIC_SHARE * energy * FJ_PER_PJ
    # pJ x GS/s = mW.
    leakage_uw = (1 - _DYNAMIC_SHARE) * energy * adc.rate_gsps * 1e3
    return _price(dynamic, area, leakage_uw, f"regression ({adc.optimism})", CONSTANTS[:6], notes)


def _sar_table(adc: SarTableAdc, node_nm: float) -> Price:
    bits = effective_bits(adc)
    if not _SAR_BITS[0] <= bits <= _SAR_BITS[-1]:
        raise CimsimError(
            "the SAR table has no such converter",
            key="tile.adc.bits" if adc.enob is None else "tile.adc.enob",
            value=bits,
            allowed=f"{_SAR_BITS[0]} to {_SAR_BITS[-1]} ({_SABERI})",
        )
    energy = _interpolate(bits, _SAR_PJ) * FJ_PER_PJ
    constants = tuple(c for c in CONSTANTS if c.key.startswith("adc.sar_table"))
    return _price(
        energy, _interpolate(bits, _SAR_UM2), None, "sar_table", constants, _at(32.0, node_nm)
    )


def _interpolate(bits: float, values: tuple[float, ...]) -> float:
    points = list(zip(_SAR_BITS, values, strict=True))
    for (b0, v0), (b1, v1) in pairwise(points):
        if b0 <= bits <= b1:
            return v0 * power(v1 / v0, (bits - b0) / (b1 - b0))
    return values[-1]


def _isaac(adc: IsaacAdc, node_nm: float) -> Price:
    # Energy and area double with each bit beside the published 8-bit converter.
    factor = power(2.0, effective_bits(adc) - 8)
    energy = _ISAAC_MW / _ISAAC_GSPS * factor * FJ_PER_PJ
    constants = tuple(c for c in CONSTANTS if c.key.startswith("adc.isaac"))
    notes = _at(32.0, node_nm) + _bits_note(effective_bits(adc), 4, 10, _ISAAC)
    return _price(energy, _ISAAC_UM2 * factor, None, "isaac", constants, notes)


def _zigzag(adc: ZigzagAdc, node_nm: float, vdd_v: float, rows: int) -> Price:
    bits = effective_bits(adc)
    constants = tuple(c for c in CONSTANTS if c.key.startswith("adc.zigzag"))
    notes = [] if 22 <= node_nm <= 28 else _at(28.0, node_nm)
    notes += _bits_note(bits, 3, 10, _ZIGZAG)
    fastest_gsps = 1.0 / zigzag_delay_ns(bits, rows)
    if adc.rate_gsps > fastest_gsps:
        notes.append(f"extrapolated: faster than the fit's {fastest_gsps:.3g} GS/s")
    return _price(
        zigzag_pj(bits, vdd_v) * FJ_PER_PJ, zigzag_um2(bits), None, "zigzag", constants, notes
    )


def _figure_of_merit(adc: WaldenAdc | SchreierAdc) -> Price:
    """Walden: E = FOM 2^ENOB. Schreier: FOM = SNDR + 10 log10((f / 2) / P), E = P / f."""
    if isinstance(adc, WaldenAdc):
        energy = adc.fom_fj * power(2.0, effective_bits(adc))
        return _price(energy, adc.area_um2, None, "walden figure of merit (tile.adc.fom_fj)", ())
    sndr_db = 6.0206 * effective_bits(adc) + 1.7609
    energy = 0.5 * power(10.0, (sndr_db - adc.fom_db) / 10) * 1e15
    return _price(energy, adc.area_um2, None, "schreier figure of merit (tile.adc.fom_db)", ())


def _table(adc: TypedAdc) -> Price:
    return _price(
        adc.energy_pj * FJ_PER_PJ, adc.area_um2, adc.leakage_uw, f"table: {adc.source}", ()
    )


def _bits_note(bits: float, low: int, high: int, source: str) -> list[str]:
    if low <= bits <= high:
        return []
    return [f"extrapolated: {bits:g} bits outside {low} to {high} of {source}"]


def _at(source_nm: float, node_nm: float) -> list[str]:
    """Converters of one node do not scale like logic: flag their use at another."""
    if node_nm == source_nm:
        return []
    return [f"extrapolated: {source_nm:g} nm converter used at {node_nm:g} nm unscaled"]


def _price(
    energy_fj: float,
    area_um2: float,
    leakage_uw: float | None,
    model: str,
    constants: tuple[Constant, ...],
    notes: list[str] | None = None,
) -> Price:
    return Price(
        component="adc",
        energy_fj=energy_fj,
        model=model,
        area_um2=area_um2,
        leakage_uw=leakage_uw,
        constants=constants,
        notes=tuple(notes or ()),
    )
