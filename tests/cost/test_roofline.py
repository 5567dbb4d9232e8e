"""Digital baselines: hand-computed rooflines, files, and their place beside chips."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.cli.baseline_table import WIDTH, baseline_lines
from cimsim.config.baseline import Baseline, bundled_baselines, open_baseline
from cimsim.cost.roofline import decode_step
from cimsim.errors import CimsimError
from cimsim.report import NO_BASELINES, BesideChips
from cimsim.report.baselines import baseline_sections
from cimsim.report.blocks import Bullets, Grid
from cimsim.stages.baselines import BATCHES, baseline_notes, single_baselines
from cimsim.stages.shapes import open_shape
from cimsim.workload.shapes import DecoderShape, build_shape

FILE = """\
baseline: 1
source: a test
node_nm: 5
die_mm2: 100
dtype: int8
peak_tops: {int8: 1}
memory_gb: 1
memory_gb_per_s: 1
compute_efficiency: {value: 0.5, source: assumed}
memory_efficiency: {value: 0.25, source: assumed}
compute_power: {value: 30, source: assumed}
memory_power: {value: 10, source: assumed}
"""


def device(folder: Path, old: str = "", new: str = "") -> Baseline:
    path = folder / "device.yaml"
    assert old in FILE
    path.write_text(FILE.replace(old, new) if old else FILE)
    return open_baseline(str(path))


# One layer of 4 experts of which a token chooses 1: attention 4 x 8 x 8, router 8 x 4, experts
# 3 x 8 x 16, head 8 x 32.
TINY = build_shape(DecoderShape("tiny", "olmoe", 1, 8, 1, 1, 8, 32, 4, 1, 16))
DENSE = 4 * 64 + 32 + 256
EXPERT = 3 * 8 * 16


def test_a_step_alone_reads_the_chosen_expert_and_the_cache(tmp_path: Path) -> None:
    step = decode_step(device(tmp_path), TINY, 1, 10)
    # 16-bit keys and values of 8 numbers, 10 positions; a quarter of 1 GB/s.
    read = DENSE + EXPERT + 10 * 2 * 2 * 8
    assert step.memory_s == pytest.approx(read / 0.25e9)
    assert step.compute_s == 0
    assert (step.devices, step.limit) == (1, "memory")
    assert step.power_w == pytest.approx(10)
    assert step.energy_per_token_j == pytest.approx(10 * read / 0.25e9)


def test_a_batch_reads_the_experts_that_any_token_chose(tmp_path: Path) -> None:
    two, one = (decode_step(device(tmp_path), TINY, batch, 1) for batch in (2, 1))
    # Of four experts two tokens choose 4 (1 - (3/4)^2) = 1.75, and the cache is twice as large.
    more = 0.75 * EXPERT + 32
    assert two.memory_s - one.memory_s == pytest.approx(more / 0.25e9)


def test_products_limit_where_a_batch_shares_its_weights(tmp_path: Path) -> None:
    # 2 operations x batch a byte against 0.5 T over 0.25 G: products limit beyond a batch of 1,000.
    program = open_shape("mlp-mnist")
    batch = 4000
    step = decode_step(device(tmp_path), program, batch, 1)
    assert step.memory_s == 0
    assert step.compute_s == pytest.approx(2 * batch * 266_200 / 0.5e12)
    assert step.power_w == pytest.approx(30)
    assert step.tokens_per_s == pytest.approx(0.5e12 / 2 / 266_200)


def test_as_many_devices_as_hold_weights_and_cache_share_a_step(tmp_path: Path) -> None:
    program = open_shape("llama-2-7b")
    step = decode_step(device(tmp_path), program, 1, 2048)
    cache = 2048 * 32 * 2 * 2 * 4096
    assert step.devices == -(-(6_607_077_376 + cache) // 10**9) == 8
    assert step.memory_s == pytest.approx((6_607_077_376 + cache) / 0.25e9 / 8)
    assert step.area_mm2 == 800


def test_a_bundled_gpu_decodes_as_published() -> None:
    # PyTorch blog, Accelerating Generative AI II: Llama-7B in BF16 on an A100, 107 tokens/s at
    # batch 1, from which its share of bandwidth comes. In 8 bits it is 157, which is predicted.
    a100, program = open_baseline("a100"), open_shape("llama-2-7b")
    half = a100.model_copy(update={"dtype": "bf16"})
    assert decode_step(half, program, 1, 200).tokens_per_s == pytest.approx(107, rel=0.05)
    assert 157 < decode_step(a100, program, 1, 200).tokens_per_s < 1.5 * 157


@pytest.mark.parametrize("name", bundled_baselines())
def test_every_figure_of_a_bundled_baseline_has_a_source(name: str) -> None:
    (told,) = baseline_notes(single_baselines([name], TINY))
    assert told.startswith(name)
    assert told.count(";") >= 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("dtype: int8", "dtype: fp4", ("dtype", "'fp4'", "bf16")),
        ("dtype: int8", "dtype: bf16", ("device.yaml:5", "has no peak", "int8")),
        ("{int8: 1}", "{int8: 0}", ("peak_tops.int8", "1e-06 to 1e+06")),
        ("{int8: 1}", "{}", ("peak_tops", "one or more")),
        ("die_mm2: 100\n", "", ("die_mm2", "is missing")),
        ("value: 0.5", "value: 1.5", ("device.yaml:9", "compute_efficiency.value", "found 1.5")),
        ("value: 0.5", "valeu: 0.5", ("compute_efficiency.valeu", "not a known key", "value")),
        (", source: assumed}\ncompute", "}\ncompute", ("memory_efficiency.source", "is missing")),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(
    old: str, new: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(CimsimError) as caught:
        device(tmp_path, old, new)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_unknown_baseline_is_refused_with_those_that_are() -> None:
    with pytest.raises(CimsimError, match=r"a100, h200, tpu_v4i.*did you mean 'h200'"):
        open_baseline("h20")


def test_the_table_fits_a_terminal_and_has_every_batch() -> None:
    lines = baseline_lines(single_baselines(list(bundled_baselines()), TINY))
    assert max(map(len, lines)) <= WIDTH
    assert len([line for line in lines if line.startswith("h200 fp8")]) == len(BATCHES)
    assert baseline_lines(()) == []


def test_a_report_shows_baselines_only_where_they_were_asked_for() -> None:
    systems = single_baselines(["h200"], TINY)
    rows = tuple(s.as_dict() for s in systems)
    (section,) = baseline_sections(BesideChips("tiny", rows, baseline_notes(systems)))
    _, grid, notes = section.blocks
    assert isinstance(grid, Grid)
    assert [len(g.rows) for g in grid.groups] == [len(BATCHES)]
    assert isinstance(notes, Bullets)
    assert baseline_sections(NO_BASELINES) == ()
