"""One model on one kind of chip, with everything that all its chip seeds share."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip import ChipMesh, LogicalCopies, Placement, analog_units, build_mesh
from cimsim.config import ChipConfig
from cimsim.cost import CostModel
from cimsim.mac import AdcRange
from cimsim.model import Checkpoint, Decoder, FloatLinear, build_program
from cimsim.stages.accuracy import chip_identity
from cimsim.stages.models import calibration_windows, read_text, spread_windows
from cimsim.stages.placing import place
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.scoring import CALIBRATION_READ_SEEDS, score_clean
from cimsim.workload.program import MatrixId, Program
from romer import Task
from romer.deployment import Mode
from romer.study.subject import Prepared, Subject

__all__ = ["Laboratory"]

PROFILE_WINDOWS = 4  # as in a run: ranges come from these


@dataclass(frozen=True)
class Laboratory:
    """A model placed on a chip, before any chip seed is drawn.

    Attributes:
        config: the chip.
        checkpoint: the model.
        stored: the model as it is written into cells: the same unless weights are clipped.
        decoder: its digital parts.
        digital: its float products.
        program: its operations.
        mesh: the chip's geometry.
        cost: the chip's prices.
        placement: where copies sit.
        ranges: ADC range of every analog matrix.
    """

    config: ChipConfig
    checkpoint: Checkpoint
    stored: Checkpoint
    decoder: Decoder
    digital: FloatLinear
    program: Program
    mesh: ChipMesh
    cost: CostModel
    placement: Placement
    ranges: dict[MatrixId, AdcRange]

    @classmethod
    def open(
        cls, config: ChipConfig, subject: Subject, stored: Checkpoint | None = None
    ) -> Laboratory:
        """Place a model as `cimsim run` does.

        Args:
            config: the chip.
            subject: the model.
            stored: what is written into cells, the model itself by default.

        Raises:
            CimsimError: if chip and model do not go together.
        """
        checkpoint, decoder, digital = subject.checkpoint, subject.decoder, subject.digital
        stored = stored or checkpoint
        program = build_program(checkpoint)
        units = analog_units(program, config)
        mesh = build_mesh(config, sum(u.crossbars for u in units))
        texts, budget = read_text(None), (config.calibration.tokens, config.workload.context)
        profile = calibration_windows(checkpoint, texts, *budget)[:PROFILE_WINDOWS]
        cost = CostModel(config, mesh, program)
        trace = score_clean(decoder, digital, spread_windows(checkpoint, texts, *budget)).trace
        placement = place(config, mesh, program, units, cost, trace).placement
        # Ranges are those of the codes that the cells hold.
        ranging = decoder if stored is checkpoint else Decoder(stored)
        ranges = measure_ranges(config, ranging, LogicalCopies.of(placement), profile)
        return cls(
            config, checkpoint, stored, decoder, digital, program, mesh, cost, placement, ranges
        )

    def deploy(self, chip_seed: int) -> ProgrammedChip:
        """Program one chip."""
        return ProgrammedChip.program(
            self.config.tile,
            self.config.technology.temperature_c,
            self.stored,
            LogicalCopies.of(self.placement),
            self.ranges,
            self.digital,
            chip_seed,
        )

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
