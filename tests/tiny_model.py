"""A tiny randomly initialised mixture-of-experts checkpoint and chips of its size.

The checkpoint is an ordinary Hugging Face folder (OLMoE family): two layers, width 32, eight
experts of which a token visits two, and a byte-level vocabulary of 256 tokens, so that a whole
run takes about a second.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

LAYERS, WIDTH, EXPERTS, TOP_K, HIDDEN = 2, 32, 8, 2, 16
CONFIG: dict[str, Any] = {
    "architectures": ["OlmoeForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "clip_qkv": None,
    "eos_token_id": None,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": HIDDEN,
    "max_position_embeddings": 256,
    "model_type": "olmoe",
    "norm_topk_prob": False,
    "num_attention_heads": 2,
    "num_experts": EXPERTS,
    "num_experts_per_tok": TOP_K,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": 256,
}

# Overrides that make a run of any chip small: eight windows of 16 tokens, one batch or two.
SMALL = (
    "workload.tokens=128",
    "workload.context=16",
    "workload.in_flight=2",
    "calibration.tokens=256",
    "run.chip_seeds=2",
    "run.flight_tokens=8",
    "run.decode_batch=[1, 4]",
)


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write the tiny checkpoint and return its folder.

    Args:
        folder: where; missing folders are made.
        seed: of the random weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(_tensors(seed), str(folder / "model.safetensors"))
    return folder


def _tensors(seed: int) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (CONFIG["vocab_size"], WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        base = f"model.layers.{layer}"
        shapes[f"{base}.input_layernorm.weight"] = (WIDTH,)
        shapes[f"{base}.post_attention_layernorm.weight"] = (WIDTH,)
        for role in "qkvo":
            shapes[f"{base}.self_attn.{role}_proj.weight"] = (WIDTH, WIDTH)
        for role in "qk":
            shapes[f"{base}.self_attn.{role}_norm.weight"] = (WIDTH,)
        shapes[f"{base}.mlp.gate.weight"] = (EXPERTS, WIDTH)
        for expert in range(EXPERTS):
            for role in ("gate", "up"):
                shapes[f"{base}.mlp.experts.{expert}.{role}_proj.weight"] = (HIDDEN, WIDTH)
            shapes[f"{base}.mlp.experts.{expert}.down_proj.weight"] = (WIDTH, HIDDEN)
    rng = np.random.default_rng(seed)
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else rng.normal(0.0, 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def warm_kernels(folder: Path) -> None:
    """Compile (or load from their cache) the kernels of whole runs: tiles, model and engine.

    Args:
        folder: an empty folder for a checkpoint.
    """
    from cimsim.config.load import find_chip, load_chip
    from cimsim.pipeline import run_chip
    from cimsim.stages.models import read_text

    model = write_checkpoint(folder / "warm")
    # Folded and detailed products of both encodings, and both kinds of crossbar.
    for chip in ("isaac", "eflash_40nm", "sram_digital_28nm"):
        config = load_chip(find_chip(chip), (*SMALL, "run.engine=compiled"))
        with patch("cimsim.stages.first_seed.scale_rows", return_value=()):
            run_chip(config, str(model), read_text(None))
