"""Text that a chip seed calibrates on: FIT and ACCEPT windows of all documents, or of a shard."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.model import Checkpoint
from cimsim.stages.models import Texts
from romer import CalibrationText, split_documents

__all__ = ["calibration_text", "check_calibration_text", "has_shards"]


def has_shards(config: ChipConfig) -> bool:
    """Return whether every chip seed calibrates on documents of its own."""
    return config.calibration.shards == "own" and config.run.chip_seeds > 1


def calibration_text(
    config: ChipConfig, checkpoint: Checkpoint, texts: Texts, index: int | None
) -> CalibrationText:
    """Return the text of all seeds, or the documents of one: every so many-th.

    Args:
        config: the chip.
        checkpoint: whose tokenizer is used.
        texts: of the run.
        index: of the seed, None for all documents.

    Raises:
        CimsimError: if the text is too short.
    """
    whole = texts.calibration
    if index is not None:
        whole = "\n\n".join(whole.split("\n\n")[index :: config.run.chip_seeds])
    wanted = config.calibration
    return split_documents(
        checkpoint, whole, wanted.tokens, config.workload.context,
        accept_tokens=wanted.accept_tokens,
    )  # fmt: skip


def check_calibration_text(config: ChipConfig, checkpoint: Checkpoint, texts: Texts) -> None:
    """Refuse text that is too short for what is asked of it beyond `calibration.tokens`.

    Raises:
        CimsimError: if it is.
    """
    if has_shards(config):
        for index in range(config.run.chip_seeds):
            calibration_text(config, checkpoint, texts, index)
    elif config.calibration.accept_tokens is not None:
        calibration_text(config, checkpoint, texts, None)
