"""DeepSeek-MoE in plain torch, written from the paper and the public weight layout.

transformers has no class for ``model_type: deepseek``; this oracle stands in for it, and
its parts are held against the classes that transformers does have.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain


def feed_forward(x: Tensor, weights: dict[str, Tensor], base: str) -> Tensor:
    gate = F.linear(x, weights[f"{base}.gate_proj.weight"])
    up = F.linear(x, weights[f"{base}.up_proj.weight"])
    return F.linear(F.silu(gate) * up, weights[f"{base}.down_proj.weight"])


def expert_block(
    x: Tensor, weights: dict[str, Tensor], base: str, config: dict[str, Any]
) -> Tensor:
    """Routed and shared experts of one layer, x [tokens, d]."""
    share = F.linear(x, weights[f"{base}.gate.weight"]).softmax(-1)
    gates, chosen = share.topk(config["num_experts_per_tok"], dim=-1)
    if config["norm_topk_prob"]:
        gates = gates / gates.sum(-1, keepdim=True)
    gates = gates * config.get("routed_scaling_factor", 1.0)
    rows = []
    for token in range(x.shape[0]):
        visits = [
            gates[token, r] * feed_forward(x[token], weights, f"{base}.experts.{int(e)}")
            for r, e in enumerate(chosen[token])
        ]
        rows.append(torch.stack(visits).sum(0))
    return torch.stack(rows) + feed_forward(x, weights, f"{base}.shared_experts")


def attention(x: Tensor, weights: dict[str, Tensor], base: str, config: dict[str, Any]) -> Tensor:
    """Causal grouped-query attention with rotary positions, x [batch, length, d]."""
    batch, length, d = x.shape
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    width = d // heads
    frequency = config["rope_theta"] ** (-torch.arange(0, width, 2) / width)
    angle = torch.outer(torch.arange(length).float(), frequency)

    def split(role: str, count: int) -> Tensor:
        y = F.linear(x, weights[f"{base}.{role}_proj.weight"])
        return y.view(batch, length, count, width).transpose(1, 2)

    def rotated(y: Tensor) -> Tensor:
        a, b = y[..., : width // 2], y[..., width // 2 :]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

    q, k, v = rotated(split("q", heads)), rotated(split("k", kv_heads)), split("v", kv_heads)
    k, v = (y.repeat_interleave(heads // kv_heads, dim=1) for y in (k, v))
    score = q @ k.transpose(2, 3) / width**0.5
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    mixed = score.masked_fill(future, -torch.inf).softmax(-1) @ v
    return F.linear(
        mixed.transpose(1, 2).reshape(batch, length, d), weights[f"{base}.o_proj.weight"]
    )


def logits(tokens: Tensor, weights: dict[str, Tensor], config: dict[str, Any]) -> Tensor:
    """Return logits [batch, length, vocab] of tokens [batch, length]."""
    eps = config["rms_norm_eps"]
    x = weights["model.embed_tokens.weight"][tokens]
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}"
        normed = rms_norm(x, weights[f"{base}.input_layernorm.weight"], eps)
        x = x + attention(normed, weights, f"{base}.self_attn", config)
        normed = rms_norm(x, weights[f"{base}.post_attention_layernorm.weight"], eps)
        if layer < config["first_k_dense_replace"]:
            x = x + feed_forward(normed, weights, f"{base}.mlp")
        else:
            flat = normed.reshape(-1, x.shape[-1])
            x = x + expert_block(flat, weights, f"{base}.mlp", config).view(x.shape)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return F.linear(rms_norm(x, weights["model.norm.weight"], eps), head)
