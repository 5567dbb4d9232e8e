"""``cimsim verify``: a checkpoint's logits, choices and perplexity against transformers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import AsJson, Model, Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("verify")(verify)


def verify(
    model: Model,
    text: Annotated[
        Path | None, typer.Option(help="UTF-8 text instead of the bundled one.")
    ] = None,
    bos: Annotated[
        str, typer.Option(help="Whether windows begin with a BOS token: auto, always or never.")
    ] = "auto",
    tokens: Annotated[int, typer.Option(min=2, help="Tokens compared.")] = 1024,
    context: Annotated[int, typer.Option(min=2, help="Tokens per window.")] = 256,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Greatest difference of logits that passes.")
    ] = 1e-3,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Compare a model's clean numbers with those of transformers; exit 1 if they differ."""
    from cimsim.config import Workload
    from cimsim.errors import SimulationError
    from cimsim.stages.models import open_model, read_text, scored_windows
    from cimsim.stages.verify import verify as compare

    load(plugins)
    texts = read_text(text, bos)
    checkpoint = open_model(model, texts.bos)
    workload = Workload(tokens=tokens, context=context)
    found = compare(checkpoint, scored_windows(checkpoint, texts, workload), tolerance)
    if as_json:
        print(json.dumps({**asdict(found), "passed": found.passed}))
    else:
        experts = "not shown" if found.experts is None else f"{found.experts:.4%}"
        print(f"{checkpoint.name}: {found.tokens} tokens of {texts.scored_name}, float32")
        print(f"  logits      largest difference {found.max_difference:.3g}, "
              f"mean {found.mean_difference:.3g} (passes up to {tolerance:.3g})")  # fmt: skip
        print(
            f"  next token  likeliest the same at {found.top1:.4%}, five likeliest {found.top5:.4%}"
        )
        print(f"  experts     the same set at {experts} of tokens and layers")
        print(f"  perplexity  {found.ppl:.6g} here, {found.ppl_transformers:.6g} in transformers, "
              f"{found.ppl_difference:.2%} apart (passes up to 0.10%)")  # fmt: skip
    if not found.passed:
        raise SimulationError(f"{checkpoint.name} differs from transformers beyond the tolerance")
