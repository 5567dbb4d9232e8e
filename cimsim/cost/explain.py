"""What a knob, a component or a constant is: meaning, unit, formula, value, source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cimsim.chip import build_mesh
from cimsim.config import ChipConfig
from cimsim.config.knobs import ANY_NAME, Knob, find_knobs
from cimsim.cost.catalogue import Catalogue, all_constants, covered, price_chip
from cimsim.cost.components import COMPONENTS
from cimsim.cost.constant import Constant

__all__ = ["knob_value", "lines_for", "names"]

# Names that tables of results give to rows of the ledger.
_REPORTED_AS = {"kv_dram": "dram"}


def names() -> tuple[tuple[str, str, str], ...]:
    """Return every component and constant that `lines_for` knows: (name, kind, meaning)."""
    parts = [(n, "component", f"An action is {action}.") for n, (action, _) in COMPONENTS.items()]
    constants = [(c.key, "constant", c.note or c.cite()) for c in all_constants()]
    groups = dict.fromkeys(key.split(".")[0] for key, _, _ in constants)
    grouped = [(g, "group of constants", "Constants of one source or part.") for g in groups]
    return (*parts, *grouped, *constants)


def knob_value(knob: Knob, config: ChipConfig) -> str:
    """Return the value of a knob on a chip in words; where it does not exist, why."""
    value: Any = config
    path = ""
    for part in knob.path.split("."):
        if part == ANY_NAME or isinstance(value, tuple):
            return "not set" if not value else f"one of {', '.join(_entries(value))}"
        if not hasattr(value, part):
            kind = getattr(value, "kind", None)
            return f"none, {path} has kind {kind}" if kind else f"none, {path} is not given"
        value = getattr(value, part)
        path = f"{path}.{part}".lstrip(".")
    return repr(value)


def _entries(value: Mapping[str, object] | Sequence[object]) -> list[str]:
    """Name what a section with names of the user's, or a list of sections, holds."""
    return list(value) if isinstance(value, Mapping) else [str(i) for i in range(len(value))]


def lines_for(key: str, config: ChipConfig) -> list[str]:
    """Return what a key means, with its value on one chip; empty if it is unknown here.

    Args:
        key: dotted path of a knob, a component, a constant or a group of constants.
        config: the chip whose values are shown.
    """
    lines: list[str] = []
    knob = next((k for k in find_knobs() if k.path == key), None)
    if knob is not None:
        lines += _knob(knob, config)
    name = _REPORTED_AS.get(key, key.removeprefix("leakage_"))
    if name in COMPONENTS:
        ports = build_mesh(config, 1).network.router_ports
        lines += _component(name, price_chip(config, ports), config)
    constants = [c for c in all_constants() if c.key == key or c.key.startswith(f"{key}.")]
    lines += [line for c in constants for line in _constant(c)]
    return lines


def _knob(knob: Knob, config: ChipConfig) -> list[str]:
    default = "mandatory" if knob.mandatory else repr(knob.default)
    lines = [
        f"{knob.path}  (knob of a chip file)",
        f"  {knob.meaning}",
        f"  type: {knob.type_name}; unit: {knob.unit}; default: {default}",
        f"  value on {config.name}: {knob_value(knob, config)}",
    ]
    if knob.bounds:
        lines.append(f"  allowed: {knob.bounds}")
    if knob.kinds:
        lines.append(f"  only with kind: {', '.join(knob.kinds)}")
    return lines


def _component(name: str, catalogue: Catalogue, config: ChipConfig) -> list[str]:
    action, formula = COMPONENTS[name]
    lines = [
        f"{name}  (component)",
        f"  An action is {action}.",
        f"  energy of an action: {formula}",
    ]
    price = catalogue.prices.get(name)
    if name in covered(config):
        table = config.cost.tables.get(name)
        why = "excluded, or part of a table row" if table is None else f"table: {table.source}"
        lines.append(f"  on {config.name}: {why}")
    elif price is None:
        lines.append(f"  on {config.name}: not modelled")
    else:
        energy = "not modelled" if price.energy_fj is None else f"{price.energy_fj:.6g} fJ"
        area = "not modelled" if price.area_um2 is None else f"{price.area_um2:.6g} um2"
        leak = "not modelled" if price.leakage_uw is None else f"{price.leakage_uw:.6g} uW"
        lines += [
            f"  on {config.name}: {energy} per action, {area}, leakage {leak}, idle {price.idle}",
            f"  model: {price.model}",
            *(f"  source: {c.key} = {c.value:g} {c.unit}; {c.cite()}" for c in price.constants),
            *(f"  note: {note}" for note in price.notes),
        ]
    return lines


def _constant(constant: Constant) -> list[str]:
    lines = [
        f"{constant.key} = {constant.value:g} {constant.unit}  (constant)",
        f"  source: {constant.cite()}",
    ]
    return [*lines, f"  note: {constant.note}"] if constant.note else lines
