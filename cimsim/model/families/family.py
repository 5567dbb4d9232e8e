"""What all families share: the Llama-style decoder; a family states its differences.

A family is one file: it reads config.json into the list of its operations and calls
`register_family`. Files of this package are found by themselves; one from outside is a plug-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.rope import read_rope
from cimsim.registry import Registry
from cimsim.workload.blocks import Blocks, Mixture
from cimsim.workload.heads import Heads
from cimsim.workload.matrix import NO_EXPERT
from cimsim.workload.operations import Operation

__all__ = [
    "FAMILIES",
    "Family",
    "mlp_tensors",
    "read_blocks",
    "read_mixture",
    "register_family",
]

# transformers 5 writes the one where the family says the other.
_OTHER_NAME = {"num_experts": "num_local_experts", "num_local_experts": "num_experts"}
MAX_EXPERTS = 2**15 - 1  # experts are int16 in routing records


def _swiglu(prefix: str, folder: str) -> dict[str, str]:
    return {f"{prefix}{r}": f"{folder}.{r}_proj.weight" for r in ("gate", "up", "down")}


_OUTSIDE_LAYERS = {
    "embedding": "model.embed_tokens.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
}
_IN_LAYERS = {
    "attention_norm": "input_layernorm.weight",
    "block_norm": "post_attention_layernorm.weight",
    **{role: f"self_attn.{role}_proj.weight" for role in "qkvo"},
    **{f"{role}_bias": f"self_attn.{role}_proj.bias" for role in "qkvo"},
    **{f"{role}_norm": f"self_attn.{role}_norm.weight" for role in "qk"},
    "q_a": "self_attn.q_a_proj.weight",
    "q_b": "self_attn.q_b_proj.weight",
    "kv_a": "self_attn.kv_a_proj_with_mqa.weight",
    "k_b": "self_attn.kv_b_proj.weight",
    "v_b": "self_attn.kv_b_proj.weight",
    "q_a_norm": "self_attn.q_a_layernorm.weight",
    "kv_a_norm": "self_attn.kv_a_layernorm.weight",
}


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        model_type: value of ``model_type`` in config.json.
        operations: config.json to the operations in order; refuses what is not implemented.
        tensors: role to tensor name below ``model.layers.N.``, ``{expert}`` filled in: those of
            the feed-forward blocks, and what differs from the usual names of the others.
        drafts: whether files may hold layers beyond the last, which draft further tokens and
            are not read.
    """

    model_type: str
    operations: Callable[[ConfigReader], Iterable[Operation]]
    tensors: Mapping[str, str]
    drafts: bool = False

    def tensor(self, layer: int, role: str, expert: int = NO_EXPERT) -> str:
        """Return the name of a stored tensor; a matrix is stored transposed, [n_out, n_in]."""
        if role in _OUTSIDE_LAYERS:
            return _OUTSIDE_LAYERS[role]
        name = self.tensors.get(role) or _IN_LAYERS[role]
        if expert != NO_EXPERT:
            name = name.format(expert=expert)
        return f"model.layers.{layer}.{name}"


FAMILIES: Registry[Family] = Registry("model family", "model_type", "cimsim.model.families")
"""Known families by model_type."""


def register_family(family: Family) -> None:
    """Make a family known.

    Raises:
        CimsimError: if its model_type is taken.
    """
    FAMILIES.register(family.model_type)(family)


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


def read_blocks(
    config: ConfigReader,
    *,
    norm_eps: float,
    rope_theta: float = 10_000.0,
    head_dim: int | None = None,
    window: int = 0,
) -> Blocks:
    """Return the blocks that every family writes in the same keys.

    Args:
        config: the configuration.
        norm_eps: the family's value where the file is silent.
        rope_theta: the family's value where the file is silent.
        head_dim: the family's value where the file is silent; None for a share of the model's.
        window: positions that a token attends to, 0 for all before it.
    """
    config.only("hidden_act", allowed=("silu", "swish"))
    config.only("quantization_config")
    config.only("mlp_bias", allowed=(False,))
    d_model = config.integer("hidden_size")
    n_heads = config.integer("num_attention_heads")
    n_kv_heads = config.integer("num_key_value_heads", n_heads)
    if n_heads % n_kv_heads:
        raise config.error("num_key_value_heads", "must divide num_attention_heads")
    if config.get("head_dim", head_dim) is None and d_model % n_heads:
        raise config.error("hidden_size", "must be a multiple of num_attention_heads")
    width = config.integer("head_dim", head_dim or d_model // n_heads)
    if width % 2:
        raise config.error("head_dim", "rotary positions need an even head width")
    positions = config.integer("max_position_embeddings")
    theta, scaling = read_rope(config, rope_theta)
    return Blocks(
        vocab_size=config.integer("vocab_size"),
        d_model=d_model,
        heads=Heads(n_heads, n_kv_heads, width, theta, positions, scaling, window),
        norm_eps=config.number("rms_norm_eps", norm_eps),
        tied_head=config.flag("tie_word_embeddings", default=False),
    )


def read_mixture(
    config: ConfigReader, *, experts: str, width: str, renormalise: bool | None = None
) -> Mixture:
    """Return a mixture-of-experts block without shared experts.

    Args:
        config: the configuration.
        experts: key of the number of routed experts.
        width: key of their hidden width.
        renormalise: whether the gates of the chosen experts are divided by their sum; None
            reads ``norm_topk_prob``.
    """
    if renormalise is None:
        renormalise = config.flag("norm_topk_prob", default=False)
    other = _OTHER_NAME.get(experts, experts)
    key = experts if config.get(other) is None else other
    n_experts = config.integer(key, most=MAX_EXPERTS)
    top_k = config.integer("num_experts_per_tok")
    if top_k > n_experts:
        raise config.error("num_experts_per_tok", f"exceeds {key}", f"1 to {n_experts}")
    return Mixture(n_experts, top_k, config.integer(width), renormalise=renormalise)
