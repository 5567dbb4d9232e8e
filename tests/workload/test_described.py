"""Workloads by shape: files become programs, and what cannot be one is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.config.load import load_chip
from cimsim.config.shape_file import bundled_shapes, load_shape
from cimsim.errors import CimsimError
from cimsim.stages.shapes import identity_of, open_shape
from cimsim.workload.operations import Elements, Multiply
from cimsim.workload.shapes import SHAPES, build_shape
from tests.command_line import run_here

EMBED = "kind: embed, vocabulary: 2, width: 2"


def write(folder: Path, *operations: str) -> str:
    path = folder / "net.yaml"
    path.write_text("shape: 1\noperations:\n" + "".join(f"  - {{{o}}}\n" for o in operations))
    return str(path)


def test_a_decoder_from_a_file_is_the_program_of_the_same_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "olmoe.yaml"
    path.write_text(
        "shape: 1\nname: olmoe-1b-7b\noperations:\n"
        "  - {kind: embed, vocabulary: 50304, width: 2048}\n"
        "  - kind: repeat\n    times: 16\n    operations:\n"
        "      - {kind: attention, heads: 16, head_dim: 128}\n"
        "      - {kind: mixture, experts: 64, top_k: 8, hidden: 1024}\n"
        "  - {kind: head}\n"
    )
    assert open_shape(str(path)) == build_shape(SHAPES["olmoe-1b-7b"])


@pytest.mark.parametrize(
    ("name", "weights", "macs"),
    [
        # 6.74e9 parameters, of which the embedding is 32,000 x 4,096.
        ("llama-2-7b", 6.607e9, 6.607e9),
        ("lstm-ptb", 2 * 1300 * 2600 + 650 * 10000, 2 * 1300 * 2600 + 650 * 10000),
        ("mlp-mnist", 784 * 300 + 300 * 100 + 1000, 784 * 300 + 300 * 100 + 1000),
        # 2,215,296 weights of convolutions on 32, 16 and 8 pixels a side, 6,301,696 dense ones.
        ("cnn10-cifar10", 8_516_992, 462_825_472),
        ("resnet20-cifar10", 0.27e6, 40.6e6),  # He et al., Table 6; multiply-adds
    ],
)
def test_bundled_shapes_have_the_published_size(name: str, weights: float, macs: float) -> None:
    program = open_shape(name)
    assert sum(m.size for m in program.matrices()) == pytest.approx(weights, rel=0.01)
    assert program.linear_macs_per_token() == pytest.approx(macs, rel=0.002)
    assert load_shape(bundled_shapes()[name]).section.source


def test_a_convolution_is_the_product_of_its_patches(tmp_path: Path) -> None:
    program = open_shape(
        write(
            tmp_path,
            "kind: elements, use: norm, count: 7",
            "kind: convolution, channels: [3, 8], size: [9, 5], kernel: 5, stride: 2",
        )
    )
    elements, product = program.operations
    assert isinstance(elements, Elements)
    assert elements.elements == {"norm": 7}
    assert isinstance(product, Multiply)
    weight = product.weight
    assert (weight.n_in, weight.n_out, weight.vectors) == (75, 8, 5 * 3)
    assert product.sent == 3 * 9 * 5
    assert program.outputs == 8 * 15
    assert program.inputs_bytes(4) == 68  # 135 features of 4 bits
    assert program.attention_macs_per_token(100) == 0


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        (["kind: produkt, inputs: 1, outputs: 1"], ("net.yaml:3", "'produkt'", "product")),
        (["inputs: 1, outputs: 1"], ("operations.0.kind", "is missing", "convolution")),
        (["kind: product, inputs: 0, outputs: 3"], ("net.yaml:3", "found 0", "1 to 1048576")),
        (["kind: product, outputs: 3"], ("operations.0.inputs", "is missing")),
        (["kind: product, input: 2, outputs: 3"], ("input", "not a known key", "inputs")),
        (["kind: product, inputs: two, outputs: 3"], ("wrong type", "'two'", "1 to 1048576")),
        (["kind: convolution, channels: [1, 0], size: [2, 2]"], ("channels.1", "found 0")),
        (["kind: convolution, channels: [1], size: [2, 2]"], ("channels", "two|missing")),
        (["kind: elements, use: gelu, count: 3"], ("use", "'gelu'", "softmax")),
        (["kind: head"], ("net.yaml:3", "no residual stream", "embed")),
        (["kind: elements, use: norm, count: 3"], ("no matrix",)),
        (
            ["kind: product, inputs: 1, outputs: 1", EMBED],
            ("net.yaml:4", "not the first"),
        ),
        (
            [EMBED, "kind: head", "kind: head"],
            ("net.yaml:5", "after the head"),
        ),
        (
            [EMBED, "kind: attention, heads: 4, kv_heads: 3, head_dim: 2"],
            ("divide", "4"),
        ),
        (
            [EMBED, "kind: mixture, experts: 4, top_k: 5, hidden: 2"],
            ("net.yaml:4", "more experts", "4"),
        ),
        (
            [
                EMBED,
                "kind: mixture, experts: 4, top_k: 2, hidden: 2",
                "kind: mixture, experts: 8, top_k: 2, hidden: 2",
            ],
            ("net.yaml:5", "other experts"),
        ),
        (
            [
                EMBED,
                "kind: attention, heads: 4, head_dim: 2",
                "kind: attention, heads: 8, head_dim: 2",
            ],
            ("net.yaml:5", "other heads"),
        ),
        (
            ["kind: repeat, times: 1024, operations: [{kind: repeat, times: 1024, operations: "
             "[{kind: product, inputs: 1, outputs: 1}]}]"],
            ("repeats too much", "4096"),
        ),
    ],
)  # fmt: skip
def test_what_is_no_program_is_refused_with_line_and_what_is_allowed(
    operations: list[str], words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(CimsimError) as caught:
        open_shape(write(tmp_path, *operations))
    said = str(caught.value)
    assert all(any(one in said for one in word.split("|")) for word in words), said


@pytest.mark.parametrize("inside", ["[1]", "null", "[[]]", "x"])
def test_what_is_no_operation_within_a_repetition_is_refused_with_its_line(
    inside: str, tmp_path: Path
) -> None:
    path = write(tmp_path, EMBED, f"kind: repeat, times: 2, operations: {inside}")
    with pytest.raises(CimsimError, match=r"net.yaml:4.*operations.1.operations.*wrong type"):
        open_shape(path)


def test_a_chip_whose_shape_is_none_is_not_valid(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("shape: 1\noperations: []\n")
    (tmp_path / "chip.yaml").write_text("extends: isaac\nworkload: {shape: net.yaml}\n")
    done = run_here("validate", "chip.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "net.yaml:2" in done.stderr


def test_no_operation_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("shape: 1\noperations: []\n")
    with pytest.raises(CimsimError, match=r"net.yaml:2.*one or more"):
        open_shape(str(tmp_path / "net.yaml"))


def test_a_shape_beside_the_chip_file_is_found_and_known_by_its_content(tmp_path: Path) -> None:
    write(tmp_path, "kind: product, inputs: 4, outputs: 2")
    (tmp_path / "chip.yaml").write_text("extends: isaac\nworkload: {shape: net.yaml}\n")
    shape = load_chip(tmp_path / "chip.yaml").workload.shape
    assert open_shape(shape).linear_macs_per_token() == 8
    before = identity_of(shape)
    write(tmp_path, "kind: product, inputs: 4, outputs: 3")
    assert identity_of(shape) != before
