"""The gate of an evaluation: a checkpoint of the user's reads as transformers reads it.

A wrong reading of a configuration makes every later number wrong, and noise hides it. Before a run
the clean perplexity of some scored windows is compared with that of transformers; 0.1 % apart is
too far. transformers holds a whole model in float32, so that a large one cannot be checked on every
machine: then it is said that it was not.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError, SimulationError
from cimsim.model import Checkpoint
from cimsim.stages.memory import machine_bytes
from cimsim.stages.verify import SAME_PPL, no_reference, verify

__all__ = ["CheckRule", "check_rule", "pass_gate"]

Windows = NDArray[np.int64]
CheckRule = Literal["auto", "always", "never"]

CHECKED_TOKENS = 1024  # of the scored text
MEMORY_SHARE = 0.8  # of this machine, that a model in float32 may take
PER_PARAMETER = 5  # bytes in transformers: float32, and the shard that is being read


def check_rule(rule: str) -> CheckRule:
    """Return a rule by name.

    Raises:
        CimsimError: if there is none of that name.
    """
    if rule not in get_args(CheckRule):
        allowed = ", ".join(get_args(CheckRule))
        raise CimsimError("not a rule", key="--check", value=rule, allowed=allowed)
    return cast("CheckRule", rule)


def pass_gate(checkpoint: Checkpoint, windows: Windows, rule: CheckRule) -> str:
    """Compare the clean perplexity of a checkpoint with transformers'; return what was found.

    Args:
        checkpoint: the model.
        windows: that are scored, int64 [windows, context].
        rule: auto says so where it cannot be compared, always refuses.

    Raises:
        CimsimError: if it cannot be compared and must be.
        SimulationError: if perplexities differ by more than 0.1 %.
    """
    reason = _reason(checkpoint)
    if reason is not None:
        if rule == "always":
            raise reason
        return (
            f"{checkpoint.name}: not checked against transformers, because {reason.message}; "
            f"cimsim verify --model {checkpoint.folder} does it where it can be done"
        )
    some = windows[: max(1, CHECKED_TOKENS // windows.shape[1])]
    found = verify(checkpoint, some, tolerance=np.inf)
    words = (
        f"clean perplexity of {found.tokens} tokens {found.ppl:.6g} here, "
        f"{found.ppl_transformers:.6g} in transformers, {found.ppl_difference:.2%} apart"
    )
    if not found.ppl_difference <= SAME_PPL:
        raise SimulationError(
            f"{checkpoint.name}: {words}: nothing noisy is computed on it",
            key="--check",
            allowed=f"at most {SAME_PPL:.2%} apart, or --check never",
            hint=f"cimsim verify --model {checkpoint.folder} shows more",
        )
    return f"{checkpoint.name}: {words}"


def _reason(checkpoint: Checkpoint) -> CimsimError | None:
    """Return why transformers cannot compute a model on this machine, or None."""
    found = no_reference(checkpoint)
    if found is not None:
        return found
    parameters = sum(m.n_in * m.n_out for m in checkpoint.program.matrices())
    needed, have = PER_PARAMETER * parameters, machine_bytes()
    if needed > MEMORY_SHARE * have:
        return CimsimError(
            f"it would take {needed / 1e9:.0f} GB there, and this machine has {have / 1e9:.0f} GB",
            file=checkpoint.folder,
            key="--check",
        )
    return None
