"""Which layers of a Qwen-MoE are sparse, and which attend within a window."""

from __future__ import annotations

from cimsim.model.config_reader import ConfigReader

__all__ = ["is_sparse", "read_window"]


def is_sparse(config: ConfigReader, layer: int) -> bool:
    """Return whether a layer has routed experts: at every step, but for those listed."""
    step = config.integer("decoder_sparse_step", 1)
    return layer not in config.indices("mlp_only_layers") and (layer + 1) % step == 0


def read_window(config: ConfigReader) -> int:
    """Return the window of the layers that have one, 0 if none has."""
    window = config.integer("sliding_window", 0, least=0)
    if not config.flag("use_sliding_window", default=False):
        window = 0
    kinds = config.get("layer_types")
    if kinds is None:
        return window
    known = {"full_attention", "sliding_attention"}
    if not isinstance(kinds, list) or not all(isinstance(k, str) and k in known for k in kinds):
        raise config.error("layer_types", "not a list of layer types", ", ".join(sorted(known)))
    if "sliding_attention" not in kinds:
        return 0
    return window or config.integer("sliding_window")
