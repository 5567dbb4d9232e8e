"""Rotary positions as config.json states them: base, kind of scaling, and its parameters."""

from __future__ import annotations

from typing import Any

from cimsim.elementary import log
from cimsim.model.config_reader import ConfigReader
from cimsim.workload.heads import RopeScaling

__all__ = ["read_rope", "yarn_growth"]

_COMMON = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
_LENGTH = "original_max_position_embeddings"
_KEYS = {
    "default": set[str](),
    "linear": {"factor"},
    "dynamic": {"factor", _LENGTH},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", _LENGTH},
    "yarn": {
        "factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor",
        "truncate", _LENGTH,
    },
}  # fmt: skip


def read_rope(config: ConfigReader, default_theta: float) -> tuple[float, RopeScaling | None]:
    """Return base and scaling of the rotary frequencies.

    Both forms are read: ``rope_theta`` with ``rope_scaling``, and ``rope_parameters``. Dynamic
    scaling changes nothing up to ``max_position_embeddings``, the longest sequence that is read.

    Raises:
        CimsimError: for a kind or a parameter that is not implemented, by its name.
    """
    config.only("partial_rotary_factor", (1,))
    key, table = _table(config)
    reader = ConfigReader(config.path, table, f"{key}.")
    kind = table.get("rope_type", table.get("type", "default"))
    if not isinstance(kind, str) or kind not in _KEYS:
        raise config.error(key, "these rotary positions are not implemented", ", ".join(_KEYS))
    # `partial_rotary_factor` = 1 is what transformers writes for whole heads.
    unknown = sorted(set(table) - _COMMON - _KEYS[kind])
    if unknown or table.get("partial_rotary_factor", 1) != 1:
        name = unknown[0] if unknown else "partial_rotary_factor"
        raise reader.error(name, f"is not implemented with {kind} rotary positions")
    theta = config if table.get("rope_theta") is None else reader
    base = theta.number("rope_theta", default_theta)
    return base, _scaling(config, reader, kind)


def _table(config: ConfigReader) -> tuple[str, dict[str, Any]]:
    for key in ("rope_parameters", "rope_scaling"):
        table = config.get(key, {})
        if not isinstance(table, dict):
            raise config.error(key, "not an object of rotary parameters")
        if table:
            return key, table
    return "rope_scaling", {}


def _scaling(config: ConfigReader, table: ConfigReader, kind: str) -> RopeScaling | None:
    if kind in ("default", "dynamic"):
        return None
    positions = config.integer("max_position_embeddings")
    original = config.integer(_LENGTH, table.integer(_LENGTH, positions))
    if kind == "linear":
        return RopeScaling("linear", table.number("factor"))
    if kind == "llama3":
        slow, fast = table.number("low_freq_factor"), table.number("high_freq_factor")
        if slow >= fast:
            raise table.error("low_freq_factor", "must be below high_freq_factor")
        return RopeScaling("llama3", table.number("factor"), original, slow, fast)
    factor = table.number("factor", positions / original)
    return RopeScaling(
        "yarn",
        factor,
        original,
        table.number("beta_slow", 1.0),
        table.number("beta_fast", 32.0),
        _amplitude(table, factor),
        table.flag("truncate", default=True),
    )


def _amplitude(table: ConfigReader, factor: float) -> float:
    """Return YaRN's factor on cosines and sines."""
    if table.get("attention_factor") is not None:
        return table.number("attention_factor")
    if table.get("mscale") and table.get("mscale_all_dim"):
        own, all_dim = table.number("mscale"), table.number("mscale_all_dim")
        return yarn_growth(factor, own) / yarn_growth(factor, all_dim)
    return yarn_growth(factor)


def yarn_growth(factor: float, scale: float = 1.0) -> float:
    """Return 0.1 scale ln(factor) + 1 (Peng et al., arXiv 2309.00071)."""
    return 1.0 if factor <= 1.0 else 0.1 * scale * log(factor) + 1.0
