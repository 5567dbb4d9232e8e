"""The supply of a chip: typed times and energies moved to another one.

Numbers of a chip file hold at one supply, `technology.typed_at_vdd_v`, and the chip may run at
another, `technology.vdd_v`. Times follow the alpha-power law of a gate's delay,

    delay(V) = k V / (V - Vth)^alpha

and energies the square, E(V) = E(V0) (V / V0)^2. Vth and alpha of a node are those of a fit to the
delay polynomials of Stillmaker and Baas (SPICE on predictive models), from 0.65 to 1.2 of the
nominal supply and no further than the polynomial falls; the worst point of a fit is 4 % off. Of 45
and 32 nm no pair of numbers comes nearer than 11 and 31 %: these nodes are interpolated between
65 and 20 nm, as all nodes between two are.

Sources: T. Sakurai and A. R. Newton, IEEE JSSC 25 (1990) 584, doi:10.1109/4.52187; A. Stillmaker
and B. Baas, Integration 58 (2017) 74, doi:10.1016/j.vlsi.2017.02.002, delay coefficients as
encoded in nodeScale (UCLA NanoCAD).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError

from cimsim.config.chip import ChipConfig, Technology
from cimsim.config.yaml_tree import Value
from cimsim.elementary import log, power
from cimsim.errors import CimsimError

__all__ = [
    "LAW",
    "AlphaPower",
    "alpha_power",
    "at_supply",
    "hold_supply",
    "operating_point",
    "slowdown",
]


class AlphaPower(NamedTuple):
    """The law at one node.

    Attributes:
        alpha: exponent of the gate overdrive.
        vth_v: threshold voltage.
        least_v: lowest supply of the fit.
        most_v: highest supply of the fit.
    """

    alpha: float
    vth_v: float
    least_v: float
    most_v: float


LAW: dict[float, AlphaPower] = {
    130.0: AlphaPower(1.00, 0.525, 0.78, 1.44),
    90.0: AlphaPower(1.18, 0.465, 0.72, 1.32),
    65.0: AlphaPower(1.18, 0.485, 0.72, 1.32),
    20.0: AlphaPower(1.00, 0.345, 0.59, 0.96),
    16.0: AlphaPower(1.12, 0.305, 0.52, 0.96),
    14.0: AlphaPower(1.04, 0.330, 0.52, 0.96),
    10.0: AlphaPower(1.14, 0.300, 0.49, 0.90),
    7.0: AlphaPower(1.36, 0.240, 0.45, 0.84),
}
_ORDER = tuple(sorted(LAW))

# What the supply moves. Memory off the chip, links between chips and write pulses have supplies of
# their own.
_TIMES = (
    ("tile", "crossbar", "read_ns"),
    ("tile", "dac", "unit_ns"),
    ("tile", "tier_switch_ns"),
    ("cost", "drive_ns"),
    ("cost", "stage_interval_ns"),
    ("cost", "register_ns"),
)
_RATES = (
    ("technology", "clock_ghz"),
    ("digital", "clock_ghz"),
    ("noc", "clock_ghz"),
    ("tile", "adc", "rate_gsps"),
    ("tile", "adc", "clock_ghz"),
)
_ENERGIES = (
    ("tile", "adc", "energy_pj"),
    ("tile", "tier_switch_pj"),
    ("tile", "adc", "fom_fj"),
    ("tile", "adc", "static_uw"),
    ("cost", "digital_bit_fj"),
    ("cost", "digital_row_fj"),
    ("noc", "router_pj_per_bit"),
    ("noc", "link_pj_per_bit_mm"),
)


def alpha_power(node_nm: float) -> AlphaPower:
    """Return the law of a node, interpolated on a log axis; beyond the table that of its end."""
    inside = min(max(node_nm, _ORDER[0]), _ORDER[-1])
    high = next(n for n in _ORDER[1:] if inside <= n)
    low = _ORDER[_ORDER.index(high) - 1]
    share = (log(inside) - log(low)) / (log(high) - log(low))
    mixed = (a + share * (b - a) for a, b in zip(LAW[low], LAW[high], strict=True))
    return AlphaPower(*mixed)


def slowdown(node_nm: float, from_v: float, to_v: float) -> float:
    """Return by what factor a gate is slower at one supply than at another.

    Args:
        node_nm: technology node.
        from_v: supply at which times are known.
        to_v: supply at which they are wanted.

    Raises:
        CimsimError: if either lies outside the supplies of the fit.
    """
    law = alpha_power(node_nm)
    for key, volt in (("technology.typed_at_vdd_v", from_v), ("technology.vdd_v", to_v)):
        if not law.least_v - 1e-9 <= volt <= law.most_v + 1e-9:
            raise CimsimError(
                f"is a supply at which no delay is known at {node_nm:g} nm",
                key=key,
                value=volt,
                allowed=f"{law.least_v:.3g} to {law.most_v:.3g} V",
                hint="without typed_at_vdd_v a file's times and energies are taken to hold at its "
                "vdd_v",
            )

    def delay(volt: float) -> float:
        return volt / power(volt - law.vth_v, law.alpha)

    return delay(to_v) / delay(from_v)


def at_supply(config: ChipConfig) -> ChipConfig:
    """Return a chip whose typed times and energies hold at the supply it runs at.

    A read voltage that equals the supply of the typed numbers is the supply, and follows it;
    another is a reference of its own. An override that says its own `at_vdd_v` is left to it.
    Leakages stay as they are typed: `cost.leakage_at_vdd_v` then says at which supply they hold.

    Raises:
        CimsimError: if a supply is outside the model, or a number would leave its bounds.
    """
    tech = config.technology
    held_v, volt = tech.typed_at_vdd_v, tech.vdd_v
    if held_v is None:
        return config
    tree = config.model_dump(mode="json")
    del tree["technology"]["typed_at_vdd_v"]
    if held_v != volt:
        slow = slowdown(tech.node_nm, held_v, volt)
        square = (volt / held_v) ** 2
        for factor, paths in ((slow, _TIMES), (1 / slow, _RATES), (square, _ENERGIES)):
            for path in paths:
                _scale(tree, path, factor)
        if config.tile.crossbar.v_read_v == held_v:
            tree["tile"]["crossbar"]["v_read_v"] = volt
        for override in tree["cost"]["overrides"].values():
            if override["at_vdd_v"] is None:
                _scale(override, ("energy_fj",), square)
        for table in tree["cost"]["tables"].values():
            # As much energy an operation as the square says, in the time that it now takes.
            _scale(table, ("power_mw",), square / slow)
        tree["cost"].setdefault("leakage_at_vdd_v", held_v)
    return _checked(type(config), tree)


def operating_point(tree: dict[str, Value]) -> dict[str, Value]:
    """Return a copy of a chip file's section of technology, empty where it is none."""
    found = tree.get("technology")
    return dict(found) if isinstance(found, dict) else {}


def hold_supply(tree: dict[str, Value], before: dict[str, Value]) -> None:
    """Keep the supply at which numbers were typed, where another one was chosen at their node.

    Args:
        tree: the chip file as it is now.
        before: its operating point when its numbers were typed.
    """
    now, default = tree.get("technology"), Technology()
    if not isinstance(now, dict) or "typed_at_vdd_v" in now:
        return
    same = now.get("node_nm", default.node_nm) == before.get("node_nm", default.node_nm)
    held = before.get("vdd_v", default.vdd_v)
    if same and isinstance(held, int | float) and now.get("vdd_v", default.vdd_v) != held:
        now["typed_at_vdd_v"] = held


def _scale(tree: dict[str, Any], path: tuple[str, ...], factor: float) -> None:
    """Multiply a number if the chip has it."""
    for key in path[:-1]:
        tree = tree[key]
    value = tree.get(path[-1])
    if value is not None:
        tree[path[-1]] = value * factor


def _checked(kind: type[ChipConfig], tree: dict[str, Any]) -> ChipConfig:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise CimsimError(
            f"leaves what it may be at this supply: {first['msg']}",
            key=".".join(str(part) for part in first["loc"]),
            value=first.get("input"),
            hint="see technology.vdd_v and technology.typed_at_vdd_v",
        ) from error
