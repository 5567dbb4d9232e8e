"""The model card beside each trained checkpoint."""

from __future__ import annotations

from typing import Any

from cimsim.zoo.specs import CONTEXT, VOCABULARY, ModelSpec

_LOADING = {
    "olmoe": "`transformers` loads it as `OlmoeForCausalLM`.",
    "qwen2_moe": "`transformers` loads it as `Qwen2MoeForCausalLM`.",
    "deepseek": (
        "`transformers` has no class of its own for `model_type: deepseek` (its DeepSeek classes "
        "begin with V2); keys and tensor names are those of the public deepseek-moe-16b-base."
    ),
}

_OPTIONS = ("seconds", "lr", "weight_decay", "dropout", "seed")

_CARD = """# {name}

A mixture-of-experts language model small enough to be simulated in full on an analog
compute-in-memory chip. Trained from random weights for this project; it shares its routing
structure, and nothing else, with the released models of its family.

| | |
|---|---|
| layout | `model_type: {model_type}`, ordinary Hugging Face folder, bfloat16, tied embeddings |
| size | {parameters:,} parameters, {layers} layers, width {width}, {heads} heads of {head_dim} |
| routed experts | {experts} per layer, top-{top_k}, hidden width {expert_width} |
| gates | softmax over all experts, not renormalised after the choice |
| shared experts | {shared} |
| dense layers | {dense} |
| tokenizer | byte-level BPE of {vocabulary:,}, the same for all bundled models; no BOS |
| context | {context} tokens |

{loading}

## Quality
Measured on the saved bfloat16 weights in float32 arithmetic: first 40,960 tokens of the bundled
held-out text, windows of {window} tokens with {predictions} predictions each, no BOS,
nothing carried over.

| figure | value |
|---|---|
| perplexity | {perplexity:.3f} |
| negative log likelihood | {nll_nats:.4f} nats per token |
| bits per byte | {bits_per_byte:.4f} |
| expert load CV (standard deviation / mean, mean over layers) | {load_cv:.3f} |
| the same by layer | {load_cv_layers} |
| experts with less than a tenth of the mean load, by layer | {idle_experts} |

## Data
English technical prose: the documentation packages of Debian 12 that `../text/README.md` lists,
stripped to paragraphs (56.7 MB, 15.8 M tokens). The training text itself is not shipped, since
its licences are mixed.

## Training
`python -m cimsim.zoo.train --model {name} {options}`
({hardware}): {steps:,} steps of {step_tokens:,} tokens, {tokens:.0f} M in all.
Muon for the matrices, AdamW for the rest, linear warm-up and cosine decay; load-balance loss
{balance:g} x experts x sum(load x mean probability), where the loads of a layer sum to top-k;
router z loss {z_loss:g}. The learning rate follows the clock and GPU sums are not ordered, so
another run gives other weights of like quality. `training.log` is the log; its perplexities
include dropout.

## Licence
The weights are released under the project's licence (Apache-2.0).

## Limits
A model of {millions:.1f} M parameters and narrow technical English, for the study of hardware:
not for writing, answering or deciding anything. It has neither the outliers, nor the expert
specialisation, nor the depth of models with billions of parameters, so absolute noise thresholds
and cost ratios found with it do not transfer to them.
"""


def card(spec: ModelSpec, training: dict[str, Any]) -> str:
    """Text of the model card.

    Args:
        spec: Shape of the model.
        training: Content of ``training.json``.
    """
    recipe, result = training["recipe"], training["development_split"]
    shared = "none"
    if spec.shared_width:
        gate = "scaled by a sigmoid gate" if spec.shared_gate else "always added"
        shared = f"{spec.shared_experts}, hidden width {spec.shared_width} in all, {gate}"
    dense = f"the first {spec.dense_layers}, hidden width {spec.dense_width}"
    step_tokens = recipe["batch"] * spec.context
    return _CARD.format(
        name=spec.name,
        model_type=spec.model_type,
        parameters=training["parameters"],
        millions=training["parameters"] / 1e6,
        layers=spec.layers,
        width=spec.width,
        heads=spec.heads,
        head_dim=spec.head_dim,
        experts=spec.experts,
        top_k=spec.top_k,
        expert_width=spec.expert_width,
        shared=shared,
        dense=dense if spec.dense_layers else "none",
        vocabulary=VOCABULARY,
        context=spec.context,
        window=CONTEXT,
        predictions=CONTEXT - 1,
        loading=_LOADING[spec.model_type],
        perplexity=result["perplexity"],
        nll_nats=result["nll_nats"],
        bits_per_byte=result["bits_per_byte"],
        load_cv=result["load_cv"],
        load_cv_layers=", ".join(f"{v:.3f}" for v in result["load_cv_layers"]),
        idle_experts=", ".join(str(v) for v in result["idle_experts"]),
        options=" ".join(f"--{key.replace('_', '-')} {recipe[key]:g}" for key in _OPTIONS),
        z_loss=recipe["z_loss"],
        balance=training["balance"],
        hardware=training["hardware"],
        steps=training["steps"],
        step_tokens=step_tokens,
        tokens=training["steps"] * step_tokens / 1e6,
    )
