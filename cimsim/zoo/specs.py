"""What each bundled model is: its shape, its Hugging Face ``config.json`` and its tensor names.

No torch here, so that a reader (and the tests) can look at a specification without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

VOCABULARY = 4096
CONTEXT = 256


@dataclass(frozen=True)
class ModelSpec:
    """Shape of one small mixture-of-experts decoder.

    Attributes:
        name: Name of the bundled model.
        model_type: Hugging Face ``model_type``: ``olmoe``, ``qwen2_moe`` or ``deepseek``.
        experts: Routed experts per layer.
        top_k: Routed experts per token.
        expert_width: Hidden width of one routed expert.
        shared_width: Hidden width of the shared expert(s) together, 0 for none.
        shared_experts: How many experts ``shared_width`` stands for.
        shared_gate: Whether a sigmoid gate scales the shared expert (Qwen-MoE).
        dense_layers: Leading layers with one dense feed-forward block instead of experts.
        dense_width: Hidden width of those dense blocks.
        qk_norm: RMSNorm over the whole query and key vectors (OLMoE).
        qkv_bias: Bias on the query, key and value projections (Qwen-MoE).
        balance: Coefficient of the load-balance loss.
        layers: Decoder layers.
        width: Model dimension.
        heads: Attention heads (as many key-value heads).
        context: Longest sequence, and the windows that it is trained on.
        grouped: Whether experts are trained as grouped products: worth it for wide experts.
    """

    name: str
    model_type: str
    experts: int
    top_k: int
    expert_width: int
    shared_width: int = 0
    shared_experts: int = 0
    shared_gate: bool = False
    dense_layers: int = 0
    dense_width: int = 0
    qk_norm: bool = False
    qkv_bias: bool = False
    balance: float = 0.01
    layers: int = 4
    width: int = 256
    heads: int = 4
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    context: int = CONTEXT
    grouped: bool = False

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    def hf_config(self) -> dict[str, Any]:
        """``config.json`` of the model in the keys of its family."""
        common: dict[str, Any] = {
            "vocab_size": VOCABULARY,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": True,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "norm_topk_prob": False,
            "num_experts_per_tok": self.top_k,
            "bos_token_id": None,
            "eos_token_id": 0,
            "pad_token_id": None,
            "torch_dtype": "bfloat16",
            "use_cache": True,
        }
        return _FAMILY_CONFIG[self.model_type](self) | common


def _olmoe(spec: ModelSpec) -> dict[str, Any]:
    return {
        "architectures": ["OlmoeForCausalLM"],
        "model_type": "olmoe",
        "num_experts": spec.experts,
        "intermediate_size": spec.expert_width,
        "attention_bias": False,
        "clip_qkv": None,
        "output_router_logits": False,
        "router_aux_loss_coef": spec.balance,
    }


def _qwen2_moe(spec: ModelSpec) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        "num_experts": spec.experts,
        "moe_intermediate_size": spec.expert_width,
        "shared_expert_intermediate_size": spec.shared_width,
        "intermediate_size": spec.shared_width,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "qkv_bias": True,
        "use_sliding_window": False,
        "output_router_logits": False,
        "router_aux_loss_coef": spec.balance,
    }


def _deepseek(spec: ModelSpec) -> dict[str, Any]:
    return {
        "architectures": ["DeepseekForCausalLM"],
        "model_type": "deepseek",
        "n_routed_experts": spec.experts,
        "n_shared_experts": spec.shared_experts,
        "moe_intermediate_size": spec.expert_width,
        "intermediate_size": spec.dense_width,
        "first_k_dense_replace": spec.dense_layers,
        "moe_layer_freq": 1,
        "scoring_func": "softmax",
        "attention_bias": False,
        "aux_loss_alpha": spec.balance,
        "seq_aux": False,
        "rope_scaling": None,
    }


_FAMILY_CONFIG = {"olmoe": _olmoe, "qwen2_moe": _qwen2_moe, "deepseek": _deepseek}

OLMOE = ModelSpec("olmoe-tiny", "olmoe", experts=64, top_k=8, expert_width=28, qk_norm=True)
QWEN_MOE = ModelSpec(
    "qwen-moe-tiny",
    "qwen2_moe",
    experts=60,
    top_k=4,
    expert_width=28,
    shared_width=112,
    shared_experts=1,
    shared_gate=True,
    qkv_bias=True,
    norm_eps=1e-6,
)
DEEPSEEK_MOE = ModelSpec(
    "deepseek-moe-tiny",
    "deepseek",
    experts=64,
    top_k=6,
    expert_width=36,
    shared_width=72,
    shared_experts=2,
    dense_layers=1,
    dense_width=288,
    norm_eps=1e-6,
)
OLMOE_DEAD = ModelSpec(
    "olmoe-tiny-dead",
    "olmoe",
    experts=64,
    top_k=8,
    expert_width=28,
    qk_norm=True,
    balance=0.0001,  # 0.001 leaves almost no expert idle with this optimizer
)
# Too large for the repository: whoever studies them trains them first, in ten minutes on one GPU.
OLMOE_317M = ModelSpec(
    "olmoe-317m",
    "olmoe",
    experts=64,
    top_k=8,
    expert_width=256,
    qk_norm=True,
    balance=0.00125,
    layers=12,
    width=512,
    heads=8,
    context=512,
    grouped=True,
)
OLMOE_61M = replace(
    OLMOE_317M, name="olmoe-61m", expert_width=112, balance=0.0025, layers=8, width=320, heads=5
)
SPECS: dict[str, ModelSpec] = {
    s.name: s for s in (OLMOE, QWEN_MOE, DEEPSEEK_MOE, OLMOE_DEAD, OLMOE_61M, OLMOE_317M)
}
