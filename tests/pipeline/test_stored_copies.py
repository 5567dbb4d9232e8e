"""Copies that are written when they are read: as few in memory as asked for, the same numbers."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np

from cimsim.backends.torch.compute import TorchCompute
from cimsim.model import Decoder, FloatLinear
from cimsim.stages.compute import NumbaCompute
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.subject import open_subject
from tests.pipeline.conftest import tiny_chip


def test_a_chip_of_which_few_copies_are_kept_gives_the_same_numbers(tiny_model: Path) -> None:
    config = tiny_chip("eflash_40nm")
    subject = open_subject(str(tiny_model), read_text(None), config)
    chip = place_chip(config, subject.program, subject.expected)
    ranges = measure_ranges(config, subject.decoder, chip.copies, subject.profile)
    common = (config.tile, 25.0, subject.checkpoint, chip.copies, ranges)
    for compute in (NumbaCompute(), TorchCompute("cpu", "exact", 0)):
        decoder = Decoder(subject.checkpoint, compute.backend)
        digital = FloatLinear(subject.checkpoint, compute.backend)
        found = []
        for most in (1 << 30, 30_000):
            with patch.object(type(compute), "kept_bytes", most):
                deployed = ProgrammedChip.program(*common, digital, 0, compute)
            linear = deployed.linear(None, read_seed=1, mode="detailed")
            sequences = np.arange(len(subject.windows))
            found.append(decoder.score(subject.windows, linear, sequences=sequences).nll)
            kept = list(deployed.programmed.kept())
            assert sum(copy.held_bytes for copy in kept) <= most
            assert (len(kept) >= len(linear.programmed)) == (most > 30_000)
        assert np.array_equal(*found)


def test_all_windows_pass_a_layer_before_the_next(tiny_model: Path) -> None:
    subject = open_subject(str(tiny_model), read_text(None), tiny_chip("isaac"))
    asked: list[int] = []

    def linear(matrix, x, tokens):  # type: ignore[no-untyped-def]
        asked.append(matrix.layer)
        return subject.digital(matrix, x, tokens)

    with patch("cimsim.model.array_backend.NumbaBackend.batch_tokens", 32):
        subject.decoder.score(subject.windows, linear, sequences=np.arange(len(subject.windows)))
    layers = [layer for layer in asked if layer >= 0]
    assert layers == sorted(layers)
