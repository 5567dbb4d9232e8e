"""What computes a run: implied, contradicted, and part of its identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.config.load import config_hash, dump_yaml, find_chip, load_chip
from cimsim.errors import CimsimError


def test_a_device_implies_torch_and_fast_products() -> None:
    run = load_chip(find_chip("isaac"), ("run.device=cuda:1",)).run
    assert (run.backend, run.device, run.precision) == ("torch", "cuda:1", "fast")
    plain = load_chip(find_chip("isaac"), ("run.backend=torch",)).run
    assert (plain.backend, plain.device, plain.precision) == ("torch", "cpu", "exact")


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (("run.device=cuda", "run.backend=numba"), "leave run.backend out"),
        (("run.precision=fast",), "needs torch"),
        (("run.device=gpu",), "cpu, cuda or cuda:N"),
        (("run.device=cuda:0,cuda",), "cpu, cuda or cuda:N"),
        (("run.device=cuda:1,cuda:1",), "names a device twice"),
        (("run.device=cuda", "run.coupling=coupled"), "visit by visit"),
        (("run.device_gb=6",), "run.device is cpu"),
    ],
)
def test_contradictions_are_refused(knobs: tuple[str, ...], words: str) -> None:
    with pytest.raises(CimsimError, match=words):
        load_chip(find_chip("isaac"), knobs)


@pytest.mark.parametrize(
    "knobs",
    [
        (),
        ("run.backend=torch",),
        ("run.backend=torch", "run.precision=fast"),
        ("run.device=cuda",),
        ("run.device=cuda", "run.precision=exact"),
        ("run.device=cuda", "run.device_gb=6"),
    ],
)
def test_resolved_files_are_read_back(knobs: tuple[str, ...], tmp_path: Path) -> None:
    config = load_chip(find_chip("isaac"), knobs)
    resolved = tmp_path / "isaac.yaml"
    resolved.write_text(dump_yaml(config))
    assert load_chip(resolved) == config


def test_what_computes_is_part_of_the_identity_and_numba_changes_none() -> None:
    knobs = ((), ("run.backend=torch",), ("run.device=cuda",), ("run.device=cuda:1",))
    hashes = {config_hash(load_chip(find_chip("isaac"), k)) for k in knobs}
    assert len(hashes) == 4
    assert "backend" not in dump_yaml(load_chip(find_chip("isaac")))
