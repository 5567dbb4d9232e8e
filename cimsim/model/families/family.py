"""What all families share: the Llama-style decoder; a family states its differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cimsim.model.architecture import Architecture, Block
from cimsim.model.config_reader import ConfigReader
from cimsim.workload.program import NO_EXPERT, MatrixId

__all__ = ["Family", "common_fields", "mlp_tensors", "routed_block"]

MAX_EXPERTS = 2**15 - 1  # experts are int16 in routing records
_ATTENTION = {role: f"self_attn.{role}_proj.weight" for role in "qkvo"}


def _swiglu(prefix: str, folder: str) -> dict[str, str]:
    return {f"{prefix}{r}": f"{folder}.{r}_proj.weight" for r in ("gate", "up", "down")}


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        model_type: value of ``model_type`` in config.json.
        read: config.json to architecture; refuses what is not implemented.
        tensors: role to tensor name below ``model.layers.N.``; ``{expert}`` is filled in.
    """

    model_type: str
    read: Callable[[ConfigReader], Architecture]
    tensors: dict[str, str]

    def matrix_name(self, matrix: MatrixId) -> str:
        """Return the tensor that holds a matrix (stored transposed, [n_out, n_in])."""
        if matrix.role == "head":
            return "lm_head.weight"
        name = (_ATTENTION | self.tensors)[matrix.role]
        if matrix.expert != NO_EXPERT:
            name = name.format(expert=matrix.expert)
        return f"model.layers.{matrix.layer}.{name}"


def mlp_tensors(shared: str) -> dict[str, str]:
    """Return the tensor names of OLMoE-like blocks.

    Args:
        shared: folder of the shared experts below ``mlp.``, or an empty string.
    """
    names = {"router": "mlp.gate.weight"}
    names |= _swiglu("", "mlp.experts.{expert}")
    names |= _swiglu("dense_", "mlp")
    if shared:
        names |= _swiglu("shared_", f"mlp.{shared}")
    return names


def common_fields(
    config: ConfigReader, *, norm_eps: float, rope_theta: float = 10_000.0
) -> dict[str, Any]:
    """Return the fields of `Architecture` that every family writes in the same keys.

    Args:
        config: the configuration.
        norm_eps: the family's value where the file is silent.
        rope_theta: the family's value where the file is silent.
    """
    config.only("hidden_act", allowed=("silu", "swish"))
    config.only("quantization_config")
    config.only("mlp_bias", allowed=(False,))
    d_model = config.integer("hidden_size")
    n_heads = config.integer("num_attention_heads")
    n_kv_heads = config.integer("num_key_value_heads", n_heads)
    if n_heads % n_kv_heads:
        raise config.error("num_key_value_heads", "must divide num_attention_heads")
    if config.get("head_dim") is None and d_model % n_heads:
        raise config.error("hidden_size", "must be a multiple of num_attention_heads")
    head_dim = config.integer("head_dim", d_model // n_heads)
    if head_dim % 2:
        raise config.error("head_dim", "rotary positions need an even head width")
    return {
        "d_model": d_model,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "vocab_size": config.integer("vocab_size"),
        "max_positions": config.integer("max_position_embeddings"),
        "norm_eps": config.number("rms_norm_eps", norm_eps),
        "rope_theta": config.rope_theta(rope_theta),
        "tied_head": config.flag("tie_word_embeddings", default=False),
    }


def routed_block(config: ConfigReader, *, experts: str, width: str, renormalise: bool) -> Block:
    """Return an MoE block without shared experts.

    Args:
        config: the configuration.
        experts: key of the number of routed experts.
        width: key of their hidden width.
        renormalise: whether the gates of the chosen experts are divided by their sum.
    """
    n_experts = config.integer(experts, most=MAX_EXPERTS)
    top_k = config.integer("num_experts_per_tok")
    if top_k > n_experts:
        raise config.error("num_experts_per_tok", f"exceeds {experts}", f"1 to {n_experts}")
    return Block(
        n_experts=n_experts,
        top_k=top_k,
        expert_width=config.integer(width),
        renormalise=renormalise,
    )
