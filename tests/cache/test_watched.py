"""Views note what is read of a chip, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.cache.watched import MISSING, Reads, value_at, watched
from cimsim.config import ChipConfig
from cimsim.config.load import config_hash, dump_yaml, find_chip, load_chip


def chip(*overrides: str, name: str = "isaac") -> ChipConfig:
    return load_chip(find_chip(name), overrides)


def view_of(config: ChipConfig) -> tuple[ChipConfig, Reads]:
    reads: Reads = {}
    return watched(config, "config", reads), reads


def test_a_field_is_noted_with_the_classes_on_the_way() -> None:
    view, reads = view_of(chip())
    assert view.tile.adc.bits == 8
    assert list(reads) == ["config.tile", "config.tile.adc", "config.tile.adc.bits"]
    assert view.noc.kind == "cmesh"
    assert "config.noc.flit_bits" not in reads


def test_a_view_is_of_the_class_of_what_it_shows() -> None:
    config = chip()
    view, reads = view_of(config)
    assert isinstance(view, ChipConfig)
    assert isinstance(view.tile.device, type(config.tile.device))
    # The class of a section decides which fields there are: another one is another value.
    other = chip("noc={kind: mesh}")
    _ = view.noc
    assert value_at({"config": config}, "config.noc") == reads["config.noc"]
    assert value_at({"config": other}, "config.noc") != reads["config.noc"]
    assert value_at({"config": other}, "config.noc.concentration") == MISSING


def test_whole_sections_read_all_of_their_fields() -> None:
    config = chip()
    for whole in (repr, config_hash, dump_yaml, lambda v: v == config):
        view, reads = view_of(config)
        assert whole(view) == whole(config)  # type: ignore[operator]
        assert "config.noc.flit_bits" in reads
        assert "config.tile.adc.bits" in reads
    view, reads = view_of(config)
    assert hash(view.noc) == hash(config.noc)
    assert view.noc == config.noc
    assert "config.noc.flit_bits" in reads
    assert "config.tile" not in reads


def test_a_copy_notes_what_was_not_replaced() -> None:
    view, reads = view_of(chip())
    copy = view.model_copy(update={"chip": view.chip.model_copy(update={"tiles": 3})})
    assert copy.chip.tiles == 3
    assert "config.chip.tiles" not in reads
    assert copy.chip.spare_fraction == 0.125
    assert copy.tile.adc.bits == 8
    assert {"config.chip.spare_fraction", "config.tile.adc.bits"} <= set(reads)
    assert config_hash(copy) == config_hash(chip("chip.tiles=3"))


@pytest.mark.parametrize("path", sorted(p.stem for p in Path("arch_configs").glob("*.yaml")))
def test_every_bundled_chip_can_be_viewed_whole(path: str) -> None:
    config = chip(name=path)
    view, reads = view_of(config)
    assert dump_yaml(view) == dump_yaml(config)
    assert all(value_at({"config": config}, name) == value for name, value in reads.items())
