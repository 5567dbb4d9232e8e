"""One model on one kind of chip, with everything that all its chip seeds share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange
from cimsim.model import Checkpoint, Decoder, FloatLinear, build_program
from cimsim.stages.compute import Compute
from cimsim.stages.identity import chip_identity
from cimsim.stages.models import calibration_windows, read_text, spread_windows
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.recoding import Recoding
from cimsim.stages.scoring import CALIBRATION_READ_SEEDS, score_clean
from cimsim.workload.matrix import MatrixId
from romer import Task
from romer.deployment import Mode
from romer.study.subject import CleanModel, Prepared

__all__ = ["StudiedDesign"]

PROFILE_WINDOWS = 4  # as in a run: ranges come from these


@dataclass(frozen=True)
class StudiedDesign:
    """A model placed on a chip, before any chip seed is drawn.

    Attributes:
        config: the chip.
        checkpoint: the model.
        stored: the model as it is written into cells: the same unless weights are clipped.
        decoder: its digital parts.
        digital: its float products.
        placed: the chip with the model on it.
        ranges: ADC range of every analog matrix.
        recoding: other codes that its chips can be written in.
        compute: what carries out the numbers.
    """

    config: ChipConfig
    checkpoint: Checkpoint
    stored: Checkpoint
    decoder: Decoder
    digital: FloatLinear
    placed: PlacedChip
    ranges: dict[MatrixId, AdcRange]
    recoding: Recoding
    compute: Compute

    @classmethod
    def open(
        cls, config: ChipConfig, subject: CleanModel, stored: Checkpoint | None = None
    ) -> StudiedDesign:
        """Place a model as `cimsim run` does.

        Args:
            config: the chip.
            subject: the model.
            stored: what is written into cells, the model itself by default.

        Raises:
            CimsimError: if chip and model do not go together.
        """
        if config.calibration.inputs != "as_trained":
            raise CimsimError(
                "romer calibrates models in the form in which they were trained",
                key="calibration.inputs",
                value=config.calibration.inputs,
                allowed="as_trained",
                hint="cimsim run calibrates models in other forms",
            )
        if config.tile.input.scale == "per_channel":
            raise CimsimError(
                "romer calibrates models whose inputs have one scale",
                key="tile.input.scale",
                value=config.tile.input.scale,
                allowed="per_token or static",
                hint="cimsim run calibrates chips with a scale for every input",
            )
        checkpoint, decoder, digital = subject.checkpoint, subject.decoder, subject.digital
        stored = stored or checkpoint
        texts, budget = read_text(None), (config.calibration.tokens, config.workload.context)
        profile = calibration_windows(checkpoint, texts, *budget)[:PROFILE_WINDOWS]
        trace = score_clean(decoder, digital, spread_windows(checkpoint, texts, *budget)).trace
        placed = place_chip(config, build_program(checkpoint), trace)
        # Ranges are those of the codes that the cells hold.
        ranging = decoder if stored is checkpoint else Decoder(stored, subject.compute.backend)
        compute = subject.compute
        ranges = measure_ranges(config, ranging, placed.copies, profile, compute=compute)
        recoding = Recoding(config, decoder, placed.copies, profile, compute)
        return cls(
            config, checkpoint, stored, decoder, digital, placed, ranges, recoding, compute
        )  # fmt: skip

    def deploy(self, chip_seed: int) -> ProgrammedChip:
        """Program one chip; what is kept of the cells of those before goes."""
        self.compute.forget()
        chip = ProgrammedChip.program(
            self.config.tile,
            self.config.technology.temperature_c,
            self.stored,
            self.placed.copies,
            self.ranges,
            self.digital,
            chip_seed,
            self.compute,
        )
        return replace(chip, recoding=self.recoding)

    def task(
        self, prepared: Prepared, deployment: ProgrammedChip, chip_seed: int, mode: Mode = "folded"
    ) -> Task:
        """Return what a calibrator of one chip sees."""
        seed = self.config.run.seed
        return Task(
            decoder=self.decoder,
            clean=self.digital,
            reference=prepared.reference,
            deployment=deployment,
            text=prepared.text,
            mode=mode,
            read_seeds=(seed + CALIBRATION_READ_SEEDS[0], seed + CALIBRATION_READ_SEEDS[1]),
            analog=self.config.chip.analog_parts,
            model_hash=self.checkpoint.hash,
            chip_hash=chip_identity(self.config, chip_seed),
            min_gain_nats=self.config.calibration.min_gain_nats,
        )
