"""Chip files that nobody would write, drawn from a seed: knobs moved anywhere, sections broken."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from cimsim.config.knobs import ANY_NAME, Knob, find_knobs
from cimsim.config.load import bundled_chips

__all__ = ["broken_chip", "extreme_chip"]

HOSTILE = (
    "null", "[]", "{}", "''", "true", "-1", "0", "1", "2", "3", "1e-300", "1e300", "-1e300", ".inf",
    ".nan", "1e308", "1e-9", "1e9", "1e12", str(2**31), str(2**63), str(10**30), "0.5", "1.5",
    "x", "'1'", "[1]", "[0, -1]", "{a: 1}", "[[[]]]", "'\\u0000'", '"\\e[31m"', '"\\ud800"', "~",
    "'=1+1'", "'../../etc/passwd'", "'$\\frac{'", "0x10", "1_000", "1:30", "on", "2024-01-01",
)  # fmt: skip
BOUND = re.compile(r"(>=|<=|>|<) ([-+.e\d]+)")


def broken_chip(seed: int) -> str:
    """Return the text of a chip file of which something is likely wrong."""
    draw = random.Random(f"broken {seed}")
    lines = [f"extends: {draw.choice(sorted(bundled_chips()))}", f"name: broken {seed}"]
    knobs = find_knobs()
    tree: dict[str, object] = {}
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        knob = draw.choice(knobs)
        kind = draw.random()
        if kind < 0.45:
            value = draw.choice(HOSTILE)
        elif kind < 0.9:
            value = _allowed(knob, draw)
        else:
            value = draw.choice(HOSTILE) + draw.choice(("", "\n  - x", "]", ": 1", " # \x07"))
        keys = knob.path.replace(ANY_NAME, "adc").split(".")
        if draw.random() < 0.15:
            keys = keys[: draw.randrange(1, len(keys) + 1)]  # a whole section
        if draw.random() < 0.05:
            keys[-1] = draw.choice(("", "x", keys[-1] + "s", "kind", "extends"))
        _put(tree, keys, value)
    lines += [f"{key}: {_flow(value)}" for key, value in tree.items()]
    if draw.random() < 0.05:
        lines.insert(
            draw.randrange(len(lines)), draw.choice(("\t", "- a", "&a *a", "%YAML 9", "}"))
        )
    return "\n".join(lines) + "\n"


def extreme_chip(seed: int) -> str:
    """Return a chip file whose knobs are within their bounds, several at the edge of them."""
    draw = random.Random(f"extreme {seed}")
    lines = [f"extends: {draw.choice(sorted(bundled_chips()))}", f"name: extreme {seed}"]
    knobs = [k for k in find_knobs() if ANY_NAME not in k.path and _number(k)]
    tree: dict[str, object] = {}
    for knob in draw.sample(knobs, draw.choice((1, 2, 3))):
        if knob.path not in {"workload.tokens", "calibration.tokens", "run.chip_seeds"}:
            _put(tree, knob.path.split("."), _allowed(knob, draw))
    return "\n".join([*lines, *(f"{key}: {_flow(value)}" for key, value in tree.items())]) + "\n"


def write(folder: Path, text: str) -> Path:
    """Write a chip file; what UTF-8 lacks is written as it is."""
    path = folder / "chip.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def _number(knob: Knob) -> bool:
    return bool({"integer", "number"} & set(knob.type_name.split()))


def _allowed(knob: Knob, draw: random.Random) -> str:
    """Return a value within a knob's bounds, often one of the bounds."""
    if _number(knob):
        limits = [float(value) for _, value in BOUND.findall(knob.bounds)]
        low, high = (min(limits), max(limits)) if limits else (0.0, 10.0)
        value = draw.choice((low, high, draw.uniform(low, high), (abs(low) * high) ** 0.5 or low))
        text = str(int(value)) if "integer" in knob.type_name else f"{value:g}"
        return f"[{text}]" if knob.type_name.startswith("list") else text
    if " | " in knob.type_name:
        word = draw.choice(knob.type_name.removeprefix("list of ").split(" | "))
        return f"[{word}]" if knob.type_name.startswith("list") else word
    return json.dumps(draw.choice(("x", "name", "$x_1$", "caf\u00e9", "a" * 90)))


def _put(tree: dict[str, object], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        inner = tree.setdefault(key, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree[keys[-1]] = value


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return str(value)
