"""A checkpoint here and in `transformers`: logits, choices and perplexity on the same windows.

Both compute in float32 on the CPU. What differs is the order of sums, so logits agree to about
1e-4; a wrong reading of a configuration, a missing bias or a permuted head shows as a difference of
whole nats.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Decoder, FloatLinear
from cimsim.model.kernels.rows import negative_log_likelihood
from cimsim.model.text import perplexity

if TYPE_CHECKING:
    import torch

__all__ = ["SAME_PPL", "Verification", "no_reference", "verify"]

Windows = NDArray[np.int64]

TOP = 5
SAME_PPL = 1e-3  # relative difference of perplexities that the evaluation allows


@dataclass(frozen=True)
class Verification:
    """How far a checkpoint's numbers are from those of transformers.

    Attributes:
        tokens: compared.
        max_difference, mean_difference: of logits, absolute.
        top1, top5: share of positions whose likeliest token is the same, and whose five likeliest
            are the same set.
        experts: share of routed (token, layer) pairs with the same set of experts; None where
            transformers does not show its routers' choices.
        ppl, ppl_transformers: perplexities.
        tolerance: greatest difference of logits that passes.
    """

    tokens: int
    max_difference: float
    mean_difference: float
    top1: float
    top5: float
    experts: float | None
    ppl: float
    ppl_transformers: float
    tolerance: float

    @property
    def ppl_difference(self) -> float:
        """Relative difference of perplexities."""
        return abs(self.ppl / self.ppl_transformers - 1.0)

    @property
    def passed(self) -> bool:
        """Whether logits are within the tolerance and perplexities within 0.1 %."""
        return self.max_difference <= self.tolerance and self.ppl_difference <= SAME_PPL


def verify(checkpoint: Checkpoint, windows: Windows, tolerance: float) -> Verification:
    """Compare a checkpoint with transformers on windows of tokens.

    Args:
        checkpoint: the model.
        windows: int64 [windows, context].
        tolerance: greatest difference of logits that passes.

    Raises:
        CimsimError: if transformers is missing, or has no class of its own for the family.
    """
    reference = _reference(checkpoint)
    decoder, linear = Decoder(checkpoint), FloatLinear(checkpoint)
    greatest, total, top1, top5 = 0.0, 0.0, 0, 0
    same: list[bool] = []
    own_nll: list[NDArray[np.float64]] = []
    their_nll: list[NDArray[np.float64]] = []
    for number, window in enumerate(windows):
        own = decoder.forward(window[None], linear, sequences=np.array([number]))
        theirs, chosen = _forward(reference, window)
        difference = np.abs(own.logits[0] - theirs)
        greatest = max(greatest, float(difference.max()))
        total += float(difference.mean(dtype=np.float64))
        own_top, their_top = _top(own.logits[0]), _top(theirs)
        top1 += int((own.logits[0].argmax(axis=1) == theirs.argmax(axis=1)).sum())
        top5 += int((own_top == their_top).all(axis=1).sum())
        for layer, experts in enumerate(chosen):
            equal = np.sort(own.experts[:, layer]) == np.sort(experts)
            same.extend(equal.all(axis=1).tolist())
        for found, logits in ((own_nll, own.logits[0]), (their_nll, theirs)):
            found.append(negative_log_likelihood(logits[:-1], window[1:]))
    return Verification(
        tokens=windows.size,
        max_difference=greatest,
        mean_difference=total / len(windows),
        top1=top1 / windows.size,
        top5=top5 / windows.size,
        experts=sum(same) / len(same) if same else None,
        ppl=perplexity(np.stack(own_nll)),
        ppl_transformers=perplexity(np.stack(their_nll)),
        tolerance=tolerance,
    )


def _top(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the likeliest tokens of each row as a sorted set."""
    return np.sort(np.argpartition(-logits, TOP, axis=1)[:, :TOP], axis=1)


def no_reference(checkpoint: Checkpoint) -> CimsimError | None:
    """Return why transformers cannot compute a checkpoint, or None if it can."""
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            return CimsimError(
                f"comparing with transformers needs the package {name}, which is not installed",
                hint="pip install 'cimsim[verify]'",
            )
    from transformers import CONFIG_MAPPING  # noqa: PLC0415 - an optional package

    family = checkpoint.family
    if family not in CONFIG_MAPPING:
        return CimsimError(
            "transformers has no class of its own for this family, and code that a checkpoint "
            "brings is never run",
            file=checkpoint.folder / "config.json",
            key="model_type",
            value=family,
        )
    return None


def _reference(checkpoint: Checkpoint) -> torch.nn.Module:
    """Return the model of transformers, in float32 on the CPU."""
    missing = no_reference(checkpoint)
    if missing is not None:
        raise missing
    import torch  # noqa: PLC0415 - an optional package
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    with _silent_transformers():
        model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        )
    found: torch.nn.Module = model.eval()
    return found


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """Keep transformers' bar and remarks off a terminal that shows a bar of ours."""
    logging: Any = importlib.import_module("transformers.utils.logging")  # an optional package
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _forward(
    reference: torch.nn.Module, window: NDArray[np.int64]
) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    """Return logits [context, vocab], and the experts of each MoE layer that shows them."""
    import torch  # noqa: PLC0415 - an optional package

    chosen: list[NDArray[np.int64]] = []

    def see(_module: object, _inputs: object, output: Any) -> None:
        # Routers of transformers return logits, gates and experts.
        if isinstance(output, tuple) and len(output) == 3:
            chosen.append(output[2].numpy())

    hooks = [router.register_forward_hook(see) for router in _routers(reference)]
    with torch.no_grad():
        logits = reference(torch.from_numpy(window[None])).logits[0].float().numpy()
    for hook in hooks:
        hook.remove()
    return logits, chosen


def _routers(reference: torch.nn.Module) -> Iterator[torch.nn.Module]:
    for module in reference.modules():
        if type(module).__name__.lower().endswith("topkrouter"):
            yield module
