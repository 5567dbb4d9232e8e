"""From a YAML file to a validated sweep plan; messages name file, line, key and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cimsim.config.bundled import bundled_files
from cimsim.config.knobs import find_knobs
from cimsim.config.section import Section
from cimsim.config.sweep import Fidelity, Sample, SearchKnobs, Span, SweepPlan
from cimsim.config.yaml_tree import Mark, YamlTree, parse_scalar, parse_yaml, read_yaml
from cimsim.errors import CimsimError, nearest

__all__ = ["bundled_sweeps", "find_sweep", "is_sweep", "load_sweep", "plan_of"]

SECTIONS: dict[str, type[Section]] = {
    "sample": Sample,
    "fidelity": Fidelity,
    "search": SearchKnobs,
    "axes": Span,
}


def bundled_sweeps() -> dict[str, Path]:
    """Return the bundled plans by name."""
    return bundled_files("sweeps")


def find_sweep(name: str | Path) -> Path | None:
    """Return the file of a plan, by path or bundled name; None where neither is a plan."""
    path = Path(name)
    if path.is_file():
        return path if is_sweep(path) else None
    return bundled_sweeps().get(str(name))


def is_sweep(path: Path) -> bool:
    """Whether a YAML file is a sweep plan and not a chip."""
    return "sweep" in read_yaml(path).value


def load_sweep(path: Path) -> SweepPlan:
    """Read and validate one plan; chip files are found beside it.

    Raises:
        CimsimError: naming file, line, column, key, value and what is allowed.
    """
    tree = read_yaml(path)
    tree.value.setdefault("name", path.stem)
    chips = tree.value.get("chips")
    if isinstance(chips, list):
        beside = [path.parent / str(chip) for chip in chips]
        tree.value["chips"] = [
            str(near) if near.is_file() else str(chip)
            for near, chip in zip(beside, chips, strict=True)
        ]
    return _validate(tree, str(path))


def plan_of(
    chips: tuple[str, ...], axes: tuple[str, ...], overrides: tuple[str, ...], accuracy: str
) -> SweepPlan:
    """Return the plan that a command line spells out.

    Args:
        chips: chip files or names of bundled chips.
        axes: ``KNOB=VALUE,VALUE,...`` each.
        overrides: ``KNOB=VALUE`` each, the same in all points.
        accuracy: on or off.

    Raises:
        CimsimError: if an axis is not of that form.
    """
    tree = YamlTree({"sweep": 1, "name": "+".join(Path(c).stem for c in chips)})
    tree.value |= {"chips": list(chips), "accuracy": accuracy, "axes": {}, "set": {}}
    for option, texts in (("--axis", axes), ("--set", overrides)):
        found = {}
        for text in texts:
            knob, sign, raw = text.partition("=")
            if not sign or not knob.strip() or not raw.strip():
                raise CimsimError(
                    "must read KNOB=VALUE" + (",VALUE,..." if option == "--axis" else ""),
                    key=option,
                    value=text,
                    allowed="e.g. tile.adc.bits=5,6,7,8",
                )
            if raw.strip().startswith(("[", "{")):
                found[knob.strip()] = parse_yaml(f"value: {raw}", option).value["value"]
            elif option == "--axis":
                found[knob.strip()] = [parse_scalar(v.strip()) for v in raw.split(",")]
            else:
                found[knob.strip()] = parse_scalar(raw.strip())
        tree.value["axes" if option == "--axis" else "set"] = found
    return _validate(tree, "command line")


def _validate(tree: YamlTree, file: str) -> SweepPlan:
    try:
        plan = SweepPlan.model_validate_json(json.dumps(tree.value), strict=True)
    except ValidationError as error:
        raise _explain(_telling(error.errors(), tree), tree, file) from error
    paths = [knob.path for knob in find_knobs()]
    heads = {path.split(".")[0] for path in paths}
    for section in ("axes", "set"):
        for name in getattr(plan, section):
            known = name in paths or any(p.startswith(f"{name}.") for p in paths)
            free = any("NAME" in p and _matches(name, p) for p in paths)
            if not (known or free):
                ending = [p for p in paths if p.split(".")[-1] == name.split(".")[-1]]
                hint = nearest(name, paths) or (f"did you mean {ending[0]!r}?" if ending else None)
                mark = tree.marks.get((section, name), Mark(file))
                raise CimsimError(
                    "is not a knob of a chip",
                    file=mark.file,
                    line=mark.line,
                    column=mark.column,
                    key=f"{section}.{name}",
                    hint=hint or f"sections are {', '.join(sorted(heads))}",
                )
    return plan


def _matches(name: str, pattern: str) -> bool:
    """Whether a path is one of those with a name that the user chooses."""
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) <= len(wanted) and all(
        w in ("NAME", p) for p, w in zip(parts, wanted, strict=False)
    )


def _telling(errors: list[ErrorDetails], tree: YamlTree) -> ErrorDetails:
    """Return the error to show: unknown keys first; of an axis that is a mapping, of its range."""
    axes = tree.value.get("axes")
    fitting = []
    for error in errors:
        loc = error["loc"]
        of_axis = len(loc) > 2 and loc[0] == "axes" and isinstance(axes, dict)
        given = axes.get(str(loc[1])) if of_axis and isinstance(axes, dict) else None
        if not of_axis or isinstance(given, dict) == ("Span" in str(loc[2])):
            fitting.append(error)
    return min(fitting or errors, key=lambda e: e["type"] != "extra_forbidden")


def _explain(error: ErrorDetails, tree: YamlTree, file: str) -> CimsimError:
    keys = tuple(k for k in error["loc"] if not str(k).startswith(("tuple[", "Span", "function-")))
    mark = tree.nearest_mark(keys) or Mark(file)
    hint = allowed = None
    message = error["msg"].removeprefix("Value error, ").replace("Input", "value", 1)
    if error["type"] == "extra_forbidden":
        model: type[Section] = SweepPlan
        if len(keys) > 1:
            model = SECTIONS.get(str(keys[0]), SweepPlan)
        known = list(model.model_fields)
        message, hint, allowed = "is not a known key", nearest(str(keys[-1]), known), None
        allowed = ", ".join(known)
    elif error["type"] == "missing":
        message = "is missing"
    value = error.get("input")
    return CimsimError(
        message,
        file=mark.file,
        line=mark.line,
        column=mark.column,
        key=".".join(map(str, keys)) or None,
        value=None if isinstance(value, dict | list) or error["type"] == "missing" else value,
        allowed=allowed,
        hint=hint,
    )
