"""ADCs: energy, area and leakage of one converter by the model its `kind` names.

The models disagree two- to eightfold for the same bits, so every output says which one
was used. ENOB, not nominal bits, sets energy.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, exp, floor, log

from cimsim.config.converter import (
    AnyAdc,
    IsaacAdc,
    RegressionAdc,
    SarTableAdc,
    SchreierAdc,
    TableAdc,
    WaldenAdc,
    ZigzagAdc,
)
from cimsim.config.tile import Tile
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.errors import CimsimError
from cimsim.units import FJ_PER_PJ

__all__ = [
    "CONSTANTS",
    "model_curves",
    "price_adc",
    "regression_pj",
    "regression_um2",
    "zigzag_delay_ns",
    "zigzag_pj",
    "zigzag_um2",
]

_SURVEY = "regression on the Murmann ADC survey 1997-2025 (hwcomponents-adc, arXiv 2404.06553)"
_SABERI = "Saberi SAR table (hwcomponents-library)"
_ISAAC = "ISAAC, ISCA 2016, Table I, doi:10.1109/ISCA.2016.12"
_ZIGZAG = "ZigZag-IMC fit on three 28 nm SRAM analog chips"

# Coefficients of the regression, in the order of its equations below.
_FOM_SPEED = (213.78067, 2.87190)
_FOM_ENOB = (128.30683, 3.22052)
_ENERGY = (26.04962, 1.88004, 2.82913, 1.47020)
_AREA = (0.993279, 0.180715, 0.299124, 1.346192)
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
    Constant("adc.regression_fom_speed", _FOM_SPEED[0], "dB", _SURVEY, None, "A"),
    Constant("adc.regression_fom_slope", _FOM_SPEED[1], "dB/ln(S/s)", _SURVEY, None, "A"),
    Constant("adc.regression_fom_enob", _FOM_ENOB[0], "dB", _SURVEY, None, "A"),
    Constant("adc.regression_fom_enob_slope", _FOM_ENOB[1], "dB/bit", _SURVEY, None, "A"),
    Constant("adc.regression_node_exponent", _ENERGY[1], "1", _SURVEY, None, "A"),
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
        return _regression(adc, node_nm)
    if isinstance(adc, SarTableAdc):
        return _sar_table(adc, node_nm)
    if isinstance(adc, IsaacAdc):
        return _isaac(adc, node_nm)
    if isinstance(adc, ZigzagAdc):
        return _zigzag(adc, node_nm, vdd_v, tile.crossbar.rows)
    return _figure_of_merit(adc) if isinstance(adc, WaldenAdc | SchreierAdc) else _table(adc)


def effective_bits(adc: AnyAdc) -> float:
    """Return ENOB: as given, or the nominal bits."""
    return float(adc.bits if adc.enob is None else adc.enob)


def regression_pj(enob: float, node_nm: float, rate_gsps: float) -> float:
    """Return total energy a conversion of the survey regression, dynamic and static.

    SNDR = 6.0206 b + 1.7609; FOM = min(213.78 - 2.872 ln f, 128.31 + 3.2205 ceil(b));
    E = 0.5 x 10^((SNDR - FOM) / 10) x exp(26.05 + 1.880 ln T - 2.829 ln b - 1.470) pJ.
    The ceil makes it jump where ENOB crosses an integer, so it is evaluated at integers
    and log energy is interpolated between them.

    Args:
        enob: effective bits, at least 4.
        node_nm: technology node.
        rate_gsps: conversions a second.
    """
    low = floor(enob)
    share = enob - low
    at_low = _regression_at(low, node_nm, rate_gsps)
    if share == 0:
        return at_low
    return float(at_low * (_regression_at(low + 1, node_nm, rate_gsps) / at_low) ** share)


def regression_um2(energy_pj: float, node_nm: float, rate_gsps: float) -> float:
    """Return the area of an ADC of the survey regression from its total energy."""
    node, rate, energy, constant = _AREA
    return exp(
        node * log(node_nm) + rate * log(rate_gsps * 1e9) + energy * log(energy_pj) + constant
    )


def zigzag_pj(bits: float, vdd_v: float) -> float:
    """Return energy a conversion: (100 b + 0.001 x 4^b) fF x V^2."""
    return float((100.0 * bits + 0.001 * 4.0**bits) * vdd_v**2 / FJ_PER_PJ)


def zigzag_delay_ns(bits: float, rows: int) -> float:
    """Return the time of one conversion: b (0.00653 rows + 0.640) ns."""
    return bits * (0.00653 * rows + 0.640)


def zigzag_um2(bits: float) -> float:
    """Return the area of one ADC: 10^(1.206 - 0.0369 b) x 2^b um2."""
    return float(10.0 ** (1.206 - 0.0369 * bits) * 2.0**bits)


def model_curves() -> dict[str, list[tuple[float, float]]]:
    """Return (bits, pJ a conversion) of every model over 4 to 10 bits, at 1 GS/s and 32 nm."""
    whole = [float(b) for b in range(4, 11)]
    dynamic = [_DYNAMIC_SHARE * regression_pj(b, 32.0, 1.0) for b in whole]
    return {
        "regression, dynamic": list(zip(whole, dynamic, strict=True)),
        "sar_table": list(zip(whole, _SAR_PJ, strict=True)),
        "isaac": [(b, _ISAAC_MW / _ISAAC_GSPS * 2.0 ** (b - 8)) for b in whole],
        "zigzag": [(b, zigzag_pj(b, 0.9)) for b in whole],
        "walden, 20 fJ a step": [(b, 20e-3 * 2.0**b) for b in whole],
    }


def _regression_at(bits: int, node_nm: float, rate_gsps: float) -> float:
    fom_speed = _FOM_SPEED[0] - _FOM_SPEED[1] * log(rate_gsps * 1e9)
    fom = min(fom_speed, _FOM_ENOB[0] + _FOM_ENOB[1] * ceil(bits))
    sndr = 6.0206 * bits + 1.7609
    constant, node, enob, quantile = _ENERGY
    scale = exp(constant + node * log(node_nm) - enob * log(bits) - quantile)
    return float(0.5 * 10 ** ((sndr - fom) / 10) * scale)


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
    corner = (_FOM_SPEED[0] - _FOM_ENOB[0] - _FOM_ENOB[1] * ceil(enob)) / _FOM_SPEED[1]
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
            return float(v0 * (v1 / v0) ** ((bits - b0) / (b1 - b0)))
    return values[-1]


def _isaac(adc: IsaacAdc, node_nm: float) -> Price:
    # Energy and area double with each bit beside the published 8-bit converter.
    factor = 2.0 ** (effective_bits(adc) - 8)
    energy = _ISAAC_MW / _ISAAC_GSPS * factor * FJ_PER_PJ
    constants = tuple(c for c in CONSTANTS if c.key.startswith("adc.isaac"))
    return _price(energy, _ISAAC_UM2 * factor, None, "isaac", constants, _at(32.0, node_nm))


def _zigzag(adc: ZigzagAdc, node_nm: float, vdd_v: float, rows: int) -> Price:
    bits = effective_bits(adc)
    constants = tuple(c for c in CONSTANTS if c.key.startswith("adc.zigzag"))
    notes = [] if 22 <= node_nm <= 28 else _at(28.0, node_nm)
    fastest_gsps = 1.0 / zigzag_delay_ns(bits, rows)
    if adc.rate_gsps > fastest_gsps:
        notes.append(f"extrapolated: faster than the fit's {fastest_gsps:.3g} GS/s")
    return _price(
        zigzag_pj(bits, vdd_v) * FJ_PER_PJ, zigzag_um2(bits), None, "zigzag", constants, notes
    )


def _figure_of_merit(adc: WaldenAdc | SchreierAdc) -> Price:
    """Walden: E = FOM 2^ENOB. Schreier: FOM = SNDR + 10 log10((f / 2) / P), E = P / f."""
    if isinstance(adc, WaldenAdc):
        energy = adc.fom_fj * 2.0 ** effective_bits(adc)
        return _price(energy, adc.area_um2, None, "walden figure of merit (tile.adc.fom_fj)", ())
    sndr_db = 6.0206 * effective_bits(adc) + 1.7609
    energy = 0.5 * 10 ** ((sndr_db - adc.fom_db) / 10) * 1e15
    return _price(energy, adc.area_um2, None, "schreier figure of merit (tile.adc.fom_db)", ())


def _table(adc: TableAdc) -> Price:
    return _price(
        adc.energy_pj * FJ_PER_PJ, adc.area_um2, adc.leakage_uw, f"table: {adc.source}", ()
    )


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
        action="conversion",
        energy_fj=energy_fj,
        area_um2=area_um2,
        leakage_uw=leakage_uw,
        idle="gated",
        constants=constants,
        model=model,
        notes=tuple(notes or ()),
    )
