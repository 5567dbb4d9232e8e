"""``cimsim.calibrate``: a correction for one chip, fitted after its cells are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chip, load_chip
from cimsim.api.overrides import Overrides
from cimsim.model.correction_file import save_correction
from cimsim.stages.compute import open_compute
from cimsim.stages.models import given_text
from romer.calibration import Calibrated
from romer.calibration import calibrate as run_calibration
from romer.registry import steps_of
from romer.steps.low_rank import unfitted_experts, unfitted_sentence
from romer.study.studied_design import StudiedDesign
from romer.study.subject import CleanModel

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FittedCorrection", "calibrate"]


@dataclass(frozen=True)
class FittedCorrection(CallResult):
    """A correction of one chip, and what its steps gained.

    Attributes:
        found: the correction and the verdict on every step.
        chip: name of the chip.
        chip_seed: the one chip that it fits.
        warnings: what reading the model made known.
    """

    found: Calibrated
    chip: str
    chip_seed: int
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Which chip it is for."""
        return f"correction of {self.chip}, chip seed {self.chip_seed}"

    @property
    def notes(self) -> Sequence[str]:
        """Warnings, and that nothing helped if nothing did."""
        if not self.found.correction.is_identity:
            return self.warnings
        return (*self.warnings, "nothing helped: the correction is the identity")

    def to_frame(self) -> DataFrame:
        """Return a row per step: its gain in nats per token, and whether it was kept."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        columns = (
            "step", "gain_nats", "error_nats", "needed_nats", "text_gain_nats",
            "text_error_nats", "kept", "marginal",
        )  # fmt: skip
        rows = [{**asdict(v), "marginal": v.marginal} for v in self.found.verdicts]
        return DataFrame(rows, columns=list(columns))

    def save(self, path: str | Path) -> Path:
        """Write the correction for ``cimsim run --correction`` or `RunOptions.correction`.

        Args:
            path: a .safetensors file.

        Raises:
            CimsimError: if it cannot be written.
        """
        save_correction(self.found.correction, Path(path))
        return Path(path)


def calibrate(
    chip: Chip,
    *,
    model: str | Path = "olmoe-tiny",
    text: str | Path | None = None,
    chip_seed: int = 0,
    tokens: int | None = None,
    method: str | None = None,
    guarded: bool = True,
    overrides: Overrides | None = None,
) -> FittedCorrection:
    """Calibrate one chip with a model on it; what ``romer calibrate`` does.

    Args:
        chip: name, file or loaded chip.
        model: bundled model or checkpoint folder.
        text: text to calibrate on, or the `Path` of a file, documents apart by an empty line; None
            takes the bundled text.
        chip_seed: which chip; a correction fits one chip only.
        tokens: calibration tokens; None as the chip says.
        method: a method, or steps joined by '+'; None as the chip says.
        guarded: keep only steps that lower the loss of documents that they were not fitted on.
        overrides: knobs, ``{"calibration.tokens": 1280}``.

    Raises:
        CimsimError: if chip, model and method do not go together.
    """
    config = load_chip(chip, overrides)
    wanted = method or config.calibration.method
    steps_of(wanted)
    compute = open_compute(config.run)
    words = None if text is None else given_text(text)
    subject = CleanModel(str(model), config.workload.context, compute, text=words)
    design = StudiedDesign.open(config, subject)
    prepared = subject.prepared(tokens or config.calibration.tokens)
    task = design.task(prepared, design.deploy(chip_seed), chip_seed)
    found = run_calibration(task, wanted, guarded=guarded)
    warnings = subject.checkpoint.warnings
    left_out = unfitted_experts(subject.checkpoint.program, task.analog, found.correction)
    if left_out:
        warnings = (*warnings, unfitted_sentence(left_out))
    return FittedCorrection(found, config.name, chip_seed, warnings)
