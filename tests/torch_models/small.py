"""A small random OLMoE of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import OlmoeConfig, OlmoeForCausalLM

__all__ = ["SMALL", "ids", "small_model"]

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 0,
    "pad_token_id": 1,
}


def small_model() -> OlmoeForCausalLM:
    torch.manual_seed(0)
    return OlmoeForCausalLM(OlmoeConfig(**SMALL)).eval()


def ids(sequences: int, tokens: int) -> Tensor:
    made = torch.Generator().manual_seed(1)
    return torch.randint(2, SMALL["vocab_size"], (sequences, tokens), generator=made)
