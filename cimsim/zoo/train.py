"""Train one of the bundled models: ``python -m cimsim.zoo.train --help``.

First ``--prepare TRAIN HELDOUT --data DIR`` learns the tokenizer and writes token files; then
``--model NAME --data DIR --out DIR`` trains. Windows start anywhere in the
training text; matrices are updated by Muon, all else by AdamW; the learning rate warms up and
falls as a cosine over the time given, so that a run ends when it should on any accelerator.
What is reported is measured on the bfloat16 weights that are saved. Needs ``torch``.

`olmoe-317m` is not bundled. On one H200 it takes six and a half minutes, of which 340 s are
training: ``--model olmoe-317m --seconds 340 --batch 64 --weight-decay 0.7 --dropout 0.15
--warmup 0.04 --keep-best 20``.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from cimsim.zoo.card import card
from cimsim.zoo.corpus import END_OF_TEXT, prepare
from cimsim.zoo.evaluate import Evaluation, evaluate
from cimsim.zoo.muon import Muon
from cimsim.zoo.network import DecoderNetwork, hf_tensors
from cimsim.zoo.specs import CONTEXT, SPECS, ModelSpec

LOG = logging.getLogger("cimsim.zoo.train")
MOST_TABLE_DECAY = 0.1  # of embeddings and routers, which Muon does not update
BLOCK_STEPS = 25  # steps between looks at the clock
LOG_SECONDS = 10.0
TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": END_OF_TEXT,
    "clean_up_tokenization_spaces": False,
}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        seconds: Training time, compilation apart; the schedule spans it.
        batch: Windows per step.
        lr: Peak learning rate, Muon's and AdamW's.
        weight_decay: Decoupled weight decay of all matrices.
        dropout: On the output of each attention and feed-forward block.
        z_loss: Coefficient of the router's z loss.
        warmup: Share of the time in which the learning rate rises.
        seed: Of the initial weights and the order of the windows.
        muon: Whether Muon updates the matrices (else AdamW does).
        keep_best: Seconds between looks at the development loss, of which the best weights are
            kept; 0 keeps the last weights.
    """

    seconds: float
    batch: int
    lr: float
    weight_decay: float
    dropout: float
    z_loss: float
    warmup: float
    seed: int
    muon: bool
    keep_best: float = 0.0

    def rate(self, progress: float) -> float:
        """Learning rate at a share of the time: linear warm-up, then cosine to zero."""
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        phase = min(1.0, (progress - self.warmup) / (1.0 - self.warmup))
        return self.lr * 0.5 * (1.0 + math.cos(math.pi * phase))


def optimizers(
    network: DecoderNetwork, recipe: Recipe, *, on_gpu: bool
) -> list[torch.optim.Optimizer]:
    """Muon for attention, experts and dense blocks; AdamW for embedding, router, norms, bias."""
    matrices, tables, vectors = [], [], []
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif not recipe.muon or "embed" in name or "router" in name or "shared_gate" in name:
            tables.append(parameter)
        else:
            matrices.append(parameter)
    groups = [
        {"params": tables, "weight_decay": min(MOST_TABLE_DECAY, recipe.weight_decay)},
        {"params": vectors, "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95), fused=on_gpu)
    ]
    if matrices:
        found.append(Muon(matrices, recipe.lr, 0.95, recipe.weight_decay, compiled=on_gpu))
    return found


class Best:
    """The weights with the least loss on the development split.

    Args:
        network: Whose weights.
        loss: Its development loss in nats, or None to keep the last weights.
    """

    def __init__(self, network: DecoderNetwork, loss: Callable[[], float] | None) -> None:
        self._network, self._loss = network, loss
        self._least, self._weights = math.inf, None if loss is None else self._copy()

    def look(self, step: int) -> None:
        """Measure the weights as they are, and keep them if they are the best so far."""
        if self._loss is None:
            return
        found = self._loss()
        if found < self._least:
            self._least, self._weights = found, self._copy()
        LOG.info("step %6d  development nats %.4f  best %.4f", step, found, self._least)

    def restore(self) -> None:
        """Give the network its best weights."""
        with torch.no_grad():
            for name, parameter in self._network.named_parameters():
                if self._weights is not None:
                    parameter.copy_(self._weights[name])

    def _copy(self) -> dict[str, Tensor]:
        named = self._network.named_parameters()
        return {name: parameter.detach().bfloat16() for name, parameter in named}


def train(
    spec: ModelSpec,
    recipe: Recipe,
    train_tokens: Tensor,
    device: torch.device,
    development: Callable[[DecoderNetwork], float] | None = None,
) -> tuple[DecoderNetwork, int]:
    """Train a network for the recipe's time; returns it and the steps taken.

    Args:
        spec: Shape of the model.
        recipe: How it is trained.
        train_tokens: int32 token ids of the training text, on the device.
        device: Where to train.
        development: Loss of a network on the development split, where the best is kept.
    """
    torch.manual_seed(recipe.seed)
    on_gpu = device.type == "cuda"
    network = DecoderNetwork(spec, recipe.dropout).to(device)
    LOG.info("%s: %d parameters", spec.name, parameter_count(network))
    step_network = compiled(network) if on_gpu else network
    measure = None if development is None else partial(development, network)
    best, looked = Best(network, measure), 0.0
    found = optimizers(network, recipe, on_gpu=on_gpu)
    step, spent, last_log, clock = 0, 0.0, 0.0, time.perf_counter()
    while spent < recipe.seconds:
        for _ in range(BLOCK_STEPS):
            set_rate(found, recipe.rate(min(1.0, spent / recipe.seconds)) if step else 0.0)
            tokens = random_windows(train_tokens, recipe.batch, spec.context)
            with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
                loss, balance, z_loss, load = step_network(tokens)
            nll = loss.mean()
            (nll + spec.balance * balance + recipe.z_loss * z_loss).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
            for optimizer in found:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if step == 0:
                nll.item()
                clock = time.perf_counter()  # leave compilation out of the schedule
            step += 1
        nats = nll.item()
        spent = time.perf_counter() - clock
        if spent - last_log >= LOG_SECONDS or spent >= recipe.seconds:
            last_log = spent
            log_progress(step, spent, recipe, nats, load, spec.context)
        if spent - looked >= recipe.keep_best or spent >= recipe.seconds:
            looked = spent
            best.look(step)
    best.restore()
    return network, step


def compiled(network: DecoderNetwork) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the network compiled: whole, or one layer after the other where there are many."""
    if not network.spec.grouped:
        whole: Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]] = torch.compile(network)
        return whole
    for layer in network.decoder:
        layer.compile(dynamic=False)
    return network


def set_rate(found: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every optimizer a learning rate."""
    for optimizer in found:
        for group in optimizer.param_groups:
            group["lr"] = rate


def random_windows(tokens: Tensor, batch: int, context: int = CONTEXT) -> Tensor:
    """Windows of tokens that start anywhere, int64 [batch, context]."""
    starts = torch.randint(tokens.numel() - context, (batch, 1), device=tokens.device)
    return tokens[starts + torch.arange(context, device=tokens.device)].long()


def log_progress(
    step: int, spent: float, recipe: Recipe, nats: float, load: Tensor, context: int
) -> None:
    """One line of the training log; its perplexity is one batch's and includes dropout."""
    cv = (load.std(1, unbiased=False) / load.mean(1)).mean().item()
    seen = step * recipe.batch * context / 1e6
    rate = recipe.rate(min(1.0, spent / recipe.seconds))
    LOG.info(
        "%6.1f s  step %6d  %7.1f M tokens  %5.2f M/s  train ppl %7.3f  load cv %.3f  lr %.2e",
        *(spent, step, seen, seen / spent, math.exp(nats), cv, rate),
    )


def parameter_count(network: DecoderNetwork) -> int:
    """Number of trained weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def save(network: DecoderNetwork, tokenizer_path: Path, folder: Path) -> None:
    """Write an ordinary Hugging Face folder; rounds the network's weights to bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.bfloat16().float())
    shutil.copyfile(tokenizer_path, folder / "tokenizer.json")
    longest = {"model_max_length": network.spec.context}
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG | longest)
    write_json(folder / "config.json", network.spec.hf_config())
    tensors = {n: t.bfloat16().contiguous().cpu() for n, t in hf_tensors(network).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file with sorted keys."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def report(
    folder: Path, network: DecoderNetwork, recipe: Recipe, result: Evaluation, run: dict[str, Any]
) -> None:
    """Write ``training.json``, the recipe and what it reached, and the model card.

    Args:
        folder: Folder of the checkpoint.
        network: The trained network.
        recipe: How it was trained.
        result: What it reached.
        run: ``steps`` taken and ``hardware``.
    """
    found = run | {
        "parameters": parameter_count(network),
        "balance": network.spec.balance,
        "recipe": asdict(recipe),
        "development_split": asdict(result),
    }
    write_json(folder / "training.json", found)
    (folder / "README.md").write_text(card(network.spec, found), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m cimsim.zoo.train", description=__doc__)
    found.add_argument("--prepare", nargs=2, type=Path, metavar=("TRAIN", "HELDOUT"))
    found.add_argument("--data", type=Path, required=True, help="folder of the token files")
    found.add_argument("--model", choices=sorted(SPECS))
    found.add_argument("--out", type=Path, help="folder of the checkpoint")
    found.add_argument("--seconds", type=float, default=300.0)
    found.add_argument("--batch", type=int, default=192, help="windows per step")
    found.add_argument("--lr", type=float, default=3e-3)
    found.add_argument("--weight-decay", type=float, default=0.1)
    found.add_argument("--dropout", type=float, default=0.0)
    found.add_argument("--z-loss", type=float, default=0.001)
    found.add_argument("--warmup", type=float, default=0.03)
    found.add_argument("--hardware", default="hardware not stated", help="for the model card")
    found.add_argument("--balance", type=float, help="load-balance coefficient, else the model's")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument(
        "--keep-best",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="keep the weights with the least development loss, measured that often",
    )
    found.add_argument("--adamw", action="store_true", help="AdamW for the matrices too")
    return found


def main() -> int:
    """Prepare token files or train one model."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if arguments.prepare:
        prepare(arguments.prepare[0], arguments.prepare[1], arguments.data)
    if not arguments.model:
        return 0
    recipe = Recipe(
        seconds=arguments.seconds,
        batch=arguments.batch,
        lr=arguments.lr,
        weight_decay=arguments.weight_decay,
        dropout=arguments.dropout,
        z_loss=arguments.z_loss,
        warmup=arguments.warmup,
        seed=arguments.seed,
        muon=not arguments.adamw,
        keep_best=arguments.keep_best,
    )
    spec = SPECS[arguments.model]
    if arguments.balance is not None:
        spec = replace(spec, balance=arguments.balance)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    tokens = torch.from_numpy(np.load(arguments.data / "train.npy").astype(np.int32)).to(device)
    heldout = np.load(arguments.data / "heldout.npy")
    sizes = json.loads((arguments.data / "sizes.json").read_text(encoding="utf-8"))

    def development(network: DecoderNetwork) -> float:
        with torch.compiler.set_stance("force_eager"):
            return evaluate(network, heldout, sizes["scored_bytes"]).nll_nats

    network, steps = train(
        spec, recipe, tokens, device, development if recipe.keep_best > 0.0 else None
    )
    save(network, arguments.data / "tokenizer.json", arguments.out)
    torch.set_float32_matmul_precision("highest")
    with torch.compiler.set_stance("force_eager"):
        result = evaluate(network, heldout, sizes["scored_bytes"])
    run = {"steps": steps, "hardware": arguments.hardware}
    report(arguments.out, network, recipe, result, run)
    LOG.info("%s", json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
