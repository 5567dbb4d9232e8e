"""What a run prints last: full-size figures, perplexity, and where costs leave their data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cimsim.cli.answer import FULL_SIZE_HEADS, PERPLEXITY_HEADS
from cimsim.cli.summary import TINY, print_summary
from cimsim.config.load import find_chip, load_chip
from cimsim.stages.explain import explain
from tests.results.fake_run import fake_chip, fake_run


def test_extrapolated_costs_are_named_by_chip(capsys: pytest.CaptureFixture[str]) -> None:
    notes = ("extrapolated: SRAM at 14 nm", "extrapolated: router", "write drivers: none")
    chips = (fake_chip(0), replace(fake_chip(2), notes=notes))
    print_summary(replace(fake_run(1), chips=chips), as_json=False, folder="out")
    printed = capsys.readouterr().out
    assert "costs extrapolated, see the report: hermes (2)" in printed
    assert max(len(line) for line in printed.splitlines()) <= 80


def test_nothing_extrapolated_is_not_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(fake_run(1), as_json=False, folder="out")
    assert "extrapolated" not in capsys.readouterr().out


def test_destroyed_chips_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    chips = []
    for index, flags in ((0, {"destroyed": True}), (2, {"destroyed_calibrated": True})):
        chip = fake_chip(index)
        chips.append(replace(chip, row={**chip.row, **flags}))
    print_summary(replace(fake_run(1), chips=(*chips, fake_chip(4))), as_json=False, folder="out")
    printed = capsys.readouterr().out
    said = "perplexity of unigrams, 900): isaac (before calibration), hermes (after calibration)"
    assert said in " ".join(printed.split())
    assert max(len(line) for line in printed.splitlines()) <= 80
    print_summary(fake_run(1), as_json=False, folder="out")
    assert "destroyed" not in capsys.readouterr().out


def lines_of(chips: int, capsys: pytest.CaptureFixture[str], *, tiny: bool = False) -> list[str]:
    print_summary(fake_run(chips), as_json=False, folder="out", tiny=tiny)
    return capsys.readouterr().out.splitlines()


def test_full_size_figures_come_first_and_everything_fits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = lines_of(10, capsys)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("full size: decode at the shape of OLMoE-1B-7B")
    assert lines[1].split() == ["chip", *FULL_SIZE_HEADS]
    row = next(r for r in fake_chip(0).scale if r["phase"] == "decode" and r["batch"] == 1)
    found = lines[2].split()
    assert found[:2] == ["isaac", "1"]
    shown = [float(cell.replace(",", "")) for cell in found[2:]]
    exact = [
        row["energy_per_token_nj"] / 1e6,
        row["latency_us"] / 1e3,
        *(row[c] for c in ("tokens_per_s", "power_w", "dies", "area_mm2")),
    ]
    assert shown == pytest.approx(exact, rel=1e-3)
    assert next(i for i, line in enumerate(lines) if line.startswith("perplexity of")) > 10


def test_figures_are_set_against_those_of_the_first_chip(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = lines_of(2, capsys)
    first, second = (
        next(r for r in fake_chip(i).scale if r["phase"] == "decode" and r["batch"] == 32)
        for i in (0, 1)
    )
    ratio = second["energy_per_token_nj"] / first["energy_per_token_nj"]
    over = [line for line in lines if line.startswith("  over isaac")]
    assert [line.split()[2] for line in over] == ["1", "32"]
    assert f"x {ratio:.3g}" in over[1]
    (pair,) = fake_run(2).tables()["pairs"]
    said = f"{pair['loss_change_calibrated_mean']:+.3f} ["
    assert any(line.startswith("eflash_40nm") and said in line for line in lines)


def test_chips_of_other_bits_are_not_set_against_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = lines_of(4, capsys)
    at = next(i for i, line in enumerate(lines) if line.startswith("neurram"))
    assert lines[at + 2] == "  not compared with isaac: other bits or another shape"


def test_tiny_model_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any("nJ/token" in line for line in lines_of(1, capsys))
    lines = lines_of(2, capsys, tiny=True)
    assert any("nJ/token" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_every_heading_of_the_terminal_is_explained() -> None:
    config = load_chip(find_chip("isaac"))
    for head in (*FULL_SIZE_HEADS, *PERPLEXITY_HEADS, *(head for head, _ in TINY)):
        assert explain(head, config), head
