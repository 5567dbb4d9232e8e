"""Chip files: what is read, what is refused, and what the message says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.config import ChipConfig
from cimsim.config.knobs import find_knobs
from cimsim.config.load import bundled_chips, config_hash, dump_yaml, find_chip, load_chip
from cimsim.errors import CimsimError


def write(folder: Path, text: str, name: str = "chip.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(CimsimError) as caught:
        load_chip(path, overrides)
    assert caught.value.exit_code == 2
    return caught.value.sentence()


def test_a_name_alone_is_a_complete_chip(tmp_path: Path) -> None:
    assert load_chip(write(tmp_path, "name: x")) == ChipConfig(name="x")


def test_a_chip_without_name_is_named_after_its_file(tmp_path: Path) -> None:
    assert load_chip(write(tmp_path, "cimsim: 2", "my chip.yaml")).name == "my chip"


@pytest.mark.parametrize("name", sorted(bundled_chips()))
def test_every_bundled_chip_loads_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    config = load_chip(find_chip(name))
    again = load_chip(write(tmp_path, dump_yaml(config)))
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_misspelt_key_names_place_and_nearest_spelling(tmp_path: Path) -> None:
    text = message(write(tmp_path, "tile:\n  crossbar: {rowz: 128}\n"))
    assert "chip.yaml:2:14: tile.crossbar.rowz" in text
    assert "did you mean 'rows'?" in text


def test_unknown_kind_names_the_allowed_ones(tmp_path: Path) -> None:
    text = message(write(tmp_path, "tile:\n  adc: {kind: isac}\n"))
    assert "tile.adc.kind" in text
    assert "found 'isac'" in text
    assert "did you mean 'isaac'?" in text


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("tile: {adc: {kind: isaac, bits: 99}}", "<= 16"),
        ("tile: {adc: {kind: isaac, bits: 7.5}}", "integer"),
        ("tile: {adc: {kind: isaac, bits: '8'}}", "integer"),
        ("tile: {adc: {kind: isaac, bits: .nan}}", "integer"),
        ("technology: {vdd_v: true}", "number"),
        ("run: {decode_batch: 8}", "list of integer"),
        ("chip: {analog_parts: [attention, experst]}", "chip.analog_parts"),
        ("tile: 5", "tile"),
        ("tile: {adc: {bits: 8}}", "tile.adc.kind"),
    ],
)
def test_wrong_value_says_what_is_allowed(tmp_path: Path, line: str, wanted: str) -> None:
    assert wanted in message(write(tmp_path, line))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: [1", "bad YAML"),
        ("", "mapping"),
        ("- 1", "mapping"),
        ("name: x\nname: y", "appears twice"),
        ("name: !!python/object:os.system x", "tag"),
        ("{}: 1", "a key must be a word"),
        ("a: " + "[" * 40 + "]" * 40, "nested too deeply"),
        ("a: &a [1]\nb: [" + "*a, " * 70 + "*a]", "too many aliases"),
        ("a: [" + "1, " * 120_000 + "1]", "too many values"),
        ("x: '" + "y" * (1 << 20) + "'", "too large"),
    ],
)
def test_unsafe_yaml_is_refused(tmp_path: Path, text: str, wanted: str) -> None:
    assert wanted in message(write(tmp_path, text))


def test_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 8)]
    assert "too many" in message(write(tmp_path, "\n".join(rows)))


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert "file not found" in message(tmp_path / "none.yaml")
    assert "is a folder" in message(tmp_path)


def test_a_byte_order_mark_changes_neither_chip_nor_places(tmp_path: Path) -> None:
    text = "name: x\ntile: {pes: 3}\n"
    plain, marked = write(tmp_path, text, "a.yaml"), write(tmp_path, "\ufeff" + text, "b.yaml")
    assert config_hash(load_chip(marked)) == config_hash(load_chip(plain))
    assert "chip.yaml:1:1: nam" in message(write(tmp_path, "\ufeffnam: x\n"))
    assert "chip.yaml:2:8: tile.pez" in message(write(tmp_path, "\ufeffname: x\ntile: {pez: 3}"))


def test_number_formats_are_yaml_1_2(tmp_path: Path) -> None:
    text = "name: on\ntechnology: {vdd_v: 1e0}\ntile: {device: {kind: gaussian, sigma: 1e-2, "
    config = load_chip(write(tmp_path, text + "sigma_unit: frac_gmax}}"))
    assert config.name == "on"
    assert config.tile.device.sigma == 0.01


def test_extends_varies_a_parent_and_the_child_wins(tmp_path: Path) -> None:
    write(tmp_path, "name: a\ntile: {pes: 3, adc: {kind: isaac, bits: 7}}", "a.yaml")
    child = write(tmp_path, "name: b\nextends: a.yaml\ntile: {adc: {bits: 5}}", "b.yaml")
    config = load_chip(child)
    assert (config.tile.pes, config.tile.adc.bits, config.tile.adc.kind) == (3, 5, "isaac")


def test_changing_a_kind_drops_inherited_keys_of_the_other_kind(tmp_path: Path) -> None:
    write(tmp_path, "tile: {device: {kind: gaussian, sigma: 1, sigma_unit: us}}", "a.yaml")
    child = write(tmp_path, "extends: a.yaml\ntile: {device: {kind: ideal}}", "b.yaml")
    assert load_chip(child).tile.device.kind == "ideal"


def test_errors_in_a_parent_name_the_parent(tmp_path: Path) -> None:
    write(tmp_path, "tile:\n  pes: many\n", "a.yaml")
    assert "a.yaml:2" in message(write(tmp_path, "extends: a.yaml", "b.yaml"))


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml", "a.yaml")
    assert "circle" in message(write(tmp_path, "extends: a.yaml", "b.yaml"))


def test_overrides_win_and_are_validated(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x")
    assert load_chip(path, ("tile.adc.bits=6",)).tile.adc.bits == 6
    assert load_chip(path, ("run.decode_batch=[1, 4]",)).run.decode_batch == (1, 4)
    assert load_chip(path, ("chip.tiles=fit",)).chip.tiles == "fit"
    assert "did you mean 'bits'" in message(path, "tile.adc.bitz=6")
    assert "KEY=VALUE" in message(path, "tile.adc.bits")
    assert "tile.adc.bits" in message(path, "tile.adc.bits=0")


def test_hash_changes_with_every_knob_and_not_with_spelling(tmp_path: Path) -> None:
    a = load_chip(write(tmp_path, "name: x\ntile: {pes: 8}"))
    b = load_chip(write(tmp_path, "tile:\n   pes: 8   # same\nname: x"))
    c = load_chip(write(tmp_path, "name: x\ntile: {pes: 9}"))
    assert config_hash(a) == config_hash(b) != config_hash(c)


def test_every_knob_says_what_it_means_and_its_unit() -> None:
    knobs = find_knobs()
    assert len(knobs) > 100
    for knob in knobs:
        assert knob.meaning or knob.path.endswith("kind"), knob.path
        assert knob.unit, knob.path


def test_every_misspelt_knob_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x")
    suggested = 0
    paths = [k.path for k in find_knobs()]
    for dotted in paths:
        head, _, leaf = dotted.rpartition(".")
        wrong = leaf[:-1] + "zq" if len(leaf) < 3 else leaf[:-1]
        if any(
            p == f"{head}.{wrong}".lstrip(".") or p.startswith(f"{head}.{wrong}.") for p in paths
        ):
            continue  # tile.pes less its s is the section tile.pe
        text = message(path, f"{head}.{wrong}=1".lstrip("."))
        assert "is not a known key" in text
        suggested += f"'{leaf}'" in text
    assert suggested >= 0.85 * len(paths)


def test_unknown_chip_name_suggests_a_bundled_one() -> None:
    with pytest.raises(CimsimError) as caught:
        find_chip("isaak")
    assert "did you mean 'isaac'?" in caught.value.sentence()


def test_a_network_without_a_kind_is_a_mesh(tmp_path: Path) -> None:
    assert load_chip(write(tmp_path, "noc: {flit_bits: 64}")).noc.kind == "mesh"


def test_a_knob_of_another_kind_is_refused_with_its_kind(tmp_path: Path) -> None:
    text = message(write(tmp_path, "noc:\n  kind: mesh\n  concentration: 2"))
    assert "chip.yaml:3:" in text
    assert "it belongs to kind cmesh" in text
    assert "did you mean" not in text


@pytest.mark.parametrize(
    ("noc", "says"),
    [
        ("{kind: torsu}", "noc.kind: is not a known kind (found 'torsu')"),
        ("{kind: graph}", "noc.nodes: is missing"),
        ("{kind: graph, nodes: {a: {tile: 0}}}", "noc.nodes.a.tile: is not a known key"),
        ("{kind: graph, nodes: {a: {tiles: [x]}}}", "noc.nodes.a.tiles.0: has the wrong type"),
        (
            "{kind: graph, nodes: {a: {}}, edges: [{between: [a, a], costs: 1}]}",
            "noc.edges.0.costs: is not a known key; allowed: between, cost, length",
        ),
        ("{kind: ring, virtual_channels: 1}", "virtual_channels must be 2 or more on a ring"),
    ],
)
def test_a_wrong_network_is_refused_where_it_is_wrong(noc: str, says: str, tmp_path: Path) -> None:
    assert says in message(write(tmp_path, f"noc: {noc}"))
