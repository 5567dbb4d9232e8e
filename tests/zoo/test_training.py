"""The training script's parts: data, optimiser, masked experts, schedule, what it writes."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from cimsim.zoo import heldout_text, model_folder
from cimsim.zoo import train as training
from cimsim.zoo.corpus import encode, prepare, scored_bytes
from cimsim.zoo.evaluate import evaluate
from cimsim.zoo.grouped import grouped_product
from cimsim.zoo.muon import Muon, orthogonalise
from cimsim.zoo.network import DecoderNetwork, ExpertBlock, hf_tensors
from cimsim.zoo.specs import SPECS, ModelSpec
from cimsim.zoo.train import Recipe, report, save, train

RECIPE = Recipe(
    seconds=0.5,
    batch=1,
    lr=1e-2,
    weight_decay=0.1,
    dropout=0.0,
    z_loss=1e-3,
    warmup=0.1,
    seed=0,
    muon=True,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only wait for each other on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(name: str) -> ModelSpec:
    spec = replace(
        SPECS[name], experts=6, top_k=2, expert_width=4, layers=2, width=16, heads=2, context=256
    )
    return replace(
        spec,
        shared_width=min(spec.shared_width, 8),
        dense_width=min(spec.dense_width, 12),
    )


def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(model_folder("olmoe-tiny") / "tokenizer.json"))


def test_encoding_by_document_equals_encoding_in_one_piece() -> None:
    text = heldout_text()[:60_000]
    assert encode(tokenizer(), text).tolist() == tokenizer().encode(text).ids


def test_scored_bytes_leave_out_the_first_token_of_each_window() -> None:
    text = heldout_text()[:9_000]
    ids = tokenizer().encode(text).ids[:512]
    decode = tokenizer().decode
    expected = len(decode(ids).encode()) - sum(len(decode([ids[i]]).encode()) for i in (0, 256))
    assert scored_bytes(tokenizer(), ids) == expected


def test_prepare_writes_token_files_and_their_sizes(tmp_path: Path) -> None:
    text = heldout_text()
    documents = text.split("\n\n")
    for name, part in (("train", documents[:60]), ("heldout", documents[60:70])):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(part), encoding="utf-8")
    prepare(tmp_path / "train.txt", tmp_path / "heldout.txt", tmp_path / "data")
    sizes = json.loads((tmp_path / "data" / "sizes.json").read_text(encoding="utf-8"))
    tokens = np.load(tmp_path / "data" / "train.npy")
    assert sizes["train_tokens"] == tokens.size
    assert sizes["train_bytes"] == (tmp_path / "train.txt").stat().st_size
    learnt = Tokenizer.from_file(str(tmp_path / "data" / "tokenizer.json"))
    assert learnt.decode(tokens.tolist()) == "\n\n".join(documents[:60])


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8), (1, 16, 16)])
def test_orthogonalise_keeps_directions_and_flattens_singular_values(
    shape: tuple[int, int, int],
) -> None:
    torch.manual_seed(1)
    stack = torch.randn(shape)
    found = orthogonalise(stack).float()
    u, _, v = torch.linalg.svd(stack, full_matrices=False)
    aligned = (u.mT @ found @ v.mT).diagonal(dim1=1, dim2=2)
    assert aligned.min() > 0.4
    assert torch.linalg.svdvals(found).max() < 1.3


def test_muon_step_decays_and_moves_by_the_learning_rate() -> None:
    torch.manual_seed(2)
    matrix = torch.nn.Parameter(torch.randn(4, 8, 16))
    before = matrix.detach().clone()
    optimizer = Muon([matrix], lr=0.1, weight_decay=0.5)
    (matrix * torch.randn(4, 8, 16)).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = matrix.detach() - before * (1.0 - 0.1 * 0.5)
    rms = moved.pow(2).mean().sqrt().item()
    # an orthogonal 8 x 16 factor has a root mean square of 1/4; 0.2 sqrt(16) scales it to 0.2
    assert rms == pytest.approx(0.1 * 0.2, rel=0.25)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_masked_experts_equal_a_token_by_token_evaluation(name: str) -> None:
    torch.manual_seed(3)
    spec = small(name)
    block = ExpertBlock(spec)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 20, spec.width)
    found, _, _, load = block(x)
    counts = torch.zeros(spec.experts)
    for t in range(20):
        share = (block.router.weight @ x[0, t]).softmax(-1)
        y = torch.zeros(spec.width)
        for expert in share.argsort(descending=True)[: spec.top_k].tolist():
            counts[expert] += 1
            hidden = torch.nn.functional.silu(block.gate[expert] @ x[0, t])
            y = y + share[expert] * (block.down[expert].T @ (hidden * (block.up[expert] @ x[0, t])))
        if block.shared is not None:
            extra = block.shared(x[0, t])
            if block.shared_gate is not None:
                extra = extra * torch.sigmoid(block.shared_gate.weight[0] @ x[0, t])
            y = y + extra
        assert torch.allclose(found[0, t], y, atol=1e-4)
    assert torch.equal(load, counts / 20)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    recipe = replace(RECIPE, lr=1.0, warmup=0.2)
    assert [recipe.rate(p) for p in (0.0, 0.1, 0.2)] == [0.0, 0.5, 1.0]
    assert recipe.rate(0.6) == pytest.approx(0.5)
    assert recipe.rate(1.0) == pytest.approx(0.0)


@pytest.mark.parametrize("low", [False, True])
def test_grouped_experts_have_the_gradients_of_masked_ones(low: bool) -> None:
    torch.manual_seed(4)
    spec = small("olmoe-317m")
    blocks = [ExpertBlock(replace(spec, grouped=grouped)) for grouped in (True, False)]
    for parameter in blocks[0].parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    blocks[1].load_state_dict(blocks[0].state_dict())
    x, y, found = torch.randn(2, 30, spec.width), torch.randn(2, 30, spec.width), []
    for block in blocks:
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            out, balance, z_loss, load = block(inputs)
        ((out.float() * y).sum() + 10.0 * balance + 0.1 * z_loss).backward()
        gradients = [inputs.grad, *(p.grad for p in block.parameters())]
        found.append([out.detach().float(), load, *gradients])
    for mine, theirs in zip(*found, strict=True):
        error = (mine - theirs).norm() / theirs.norm()
        assert error < (3e-2 if low else 1e-5)


def test_an_expert_without_tokens_has_no_rows_and_no_gradient() -> None:
    x, weight = torch.randn(5, 3), torch.randn(4, 3, 2, requires_grad=True)
    ends = torch.tensor([2, 2, 5, 5], dtype=torch.int32)
    y = grouped_product(x, weight, ends)
    expected = torch.cat((x[:2] @ weight[0], x[2:] @ weight[2]))
    assert torch.allclose(y, expected)
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad[[1, 3]].abs().sum() == 0.0
    assert (weight.grad[[0, 2]].abs().sum((1, 2)) > 0.0).all()


def test_the_weights_with_the_least_development_loss_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: 0.2 * next(ticks))
    losses, seen = iter([3.0, 2.0, 2.5, 2.2, 9.0, 9.0]), []

    def development(network: DecoderNetwork) -> float:
        seen.append(network.embed.weight.detach().bfloat16().float().clone())
        return next(losses)

    tokens = torch.arange(256 * 4, dtype=torch.int32) % 256
    recipe = replace(RECIPE, keep_best=0.1, seconds=0.7)
    network, _ = train(small("olmoe-tiny"), recipe, tokens, torch.device("cpu"), development)
    assert len(seen) == 4
    assert torch.equal(network.embed.weight, seen[1])
    assert not torch.equal(seen[1], seen[3])


@pytest.mark.parametrize(
    "name", ["olmoe-tiny", "qwen-moe-tiny", "deepseek-moe-tiny", "olmoe-61m", "olmoe-317m"]
)
def test_training_lowers_the_loss_and_saves_what_it_reports(
    name: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count()  # a look at the clock takes 0.25 s: 2 blocks of steps in all
    monkeypatch.setattr(time, "perf_counter", lambda: 0.25 * next(ticks))
    spec = small(name)
    heldout = np.tile(np.arange(256, dtype=np.uint16), 16)
    tokens = torch.from_numpy(heldout[: 256 * 8].astype(np.int32))
    with caplog.at_level(logging.INFO):
        network, steps = train(spec, RECIPE, tokens, torch.device("cpu"))
    assert steps == 2 * training.BLOCK_STEPS
    assert "train ppl" in caplog.text
    save(network, model_folder("olmoe-tiny") / "tokenizer.json", tmp_path)
    result = evaluate(network, heldout, scored_bytes=16 * 255 * 3)
    assert result.nll_nats < np.log(4096) - 1.0
    assert result.bits_per_byte == pytest.approx(result.nll_nats / np.log(2.0) / 3)
    report(tmp_path, network, RECIPE, result, {"steps": steps, "hardware": "one CPU core"})
    assert f"{result.perplexity:.3f}" in (tmp_path / "README.md").read_text(encoding="utf-8")
    saved = load_file(tmp_path / "model.safetensors")
    for key, weight in hf_tensors(network).items():
        assert torch.equal(saved[key].float(), weight)


def test_the_network_counts_loads_that_sum_to_top_k() -> None:
    spec = small("deepseek-moe-tiny")
    load = DecoderNetwork(spec)(torch.arange(64)[None])[3]
    assert load.shape == (1, spec.experts)  # the first of its two layers is dense
    assert load.sum(1).tolist() == pytest.approx([spec.top_k])
