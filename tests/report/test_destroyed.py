"""A chip that has lost all context is called destroyed: no finding, front or axis has it."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))
from fake_run import UNIGRAM_PPL, fake_chip, fake_run

from cimsim.report import perplexity_dots, scatter, write_report
from cimsim.report.findings import findings
from cimsim.report.view import View
from cimsim.results import ChipResult, Manifest, RunFolder, RunResults


def _changed(index: int, energy: float | None = None, **ppl: float) -> ChipResult:
    """A chip with other perplexities (noisy, calibrated) and energy at full size."""
    chip = fake_chip(index)
    row = dict(chip.row)
    for stage, mean in ppl.items():
        row |= {f"ppl_{stage}_mean": mean}
        row |= {f"ppl_{stage}_ci_low": 0.8 * mean, f"ppl_{stage}_ci_high": 1.2 * mean}
        flag = {"noisy": "destroyed", "calibrated": "destroyed_calibrated"}[stage]
        row[flag] = mean >= UNIGRAM_PPL
    scale = chip.scale
    if energy is not None:
        scale = tuple({**r, "energy_per_token_nj": energy} for r in scale)
    return replace(chip, row=row, scale=scale)


def _run(*chips: ChipResult) -> RunResults:
    return replace(fake_run(1), chips=chips)


LOST = _changed(1, energy=1e5, noisy=20_000.0, calibrated=13_109.0)  # the least energy of all
SAVED = _changed(2, noisy=13_109.0)


def test_a_destroyed_chip_is_named_and_wins_nothing() -> None:
    found = findings(View.of(_run(fake_chip(0), LOST, fake_chip(4))))
    ranked = [s for s in found if "most accurate" in s or "least energy" in s]
    assert len(ranked) == 2
    assert "of 2 chips that are not destroyed" in ranked[0]
    assert not any("eflash_40nm" in s for s in ranked)
    (named,) = [s for s in found if s.startswith("Destroyed, and ranked nowhere: eflash_40nm")]
    assert "13,110 after calibration" in named
    assert "unigram model, which knows no context, has 900.0" in named
    assert "on 2 of 2 calibrated chips that are not destroyed" in " ".join(found)


def test_the_cut_of_a_chip_that_was_destroyed_is_no_record() -> None:
    found = findings(View.of(_run(fake_chip(0), SAVED)))
    assert "most on isaac, by" in found[-1]
    assert found[-1].endswith("Before it hermes would be destroyed.")


def test_without_survivors_nothing_is_ranked() -> None:
    other = _changed(0, noisy=5000.0, calibrated=4000.0)
    found = findings(View.of(_run(LOST, other)))
    kinds = [s[:31] for s in found if not s.startswith("Leakage")]
    assert kinds == ["Destroyed, and ranked nowhere: "]
    alone = findings(View.of(_run(fake_chip(0), LOST)))
    assert "isaac (8-bit weights, 8-bit inputs, the only one of 2 chips that is not" in alone[0]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, ...]]:
    """Axis limits of the figures drawn, by the figure's name."""
    found: dict[str, tuple[float, ...]] = {}
    for module in (scatter, perplexity_dots):

        def keep(figure, name, *rest, made=module.picture):
            found[name] = (*figure.axes[0].get_xlim(), *figure.axes[0].get_ylim())
            return made(figure, name, *rest)

        monkeypatch.setattr(module, "picture", keep)
    return found


def test_no_axis_is_stretched_by_destroyed_chips(limits: dict[str, tuple[float, ...]]) -> None:
    alive = fake_chip(0), fake_chip(2)
    view = View.of(_run(*alive))
    scatter.accuracy_energy(view, scaled=True)
    plain = limits["accuracy_energy"]
    scatter.accuracy_energy(View.of(_run(*alive, LOST)), scaled=True)
    assert limits["accuracy_energy"] == plain
    perplexity_dots.perplexity_dots(view)
    plain = limits["perplexity"]
    perplexity_dots.perplexity_dots(View.of(_run(*alive, LOST)))
    assert limits["perplexity"][:2] == plain[:2]
    scatter.accuracy_energy(View.of(_run(fake_chip(0), SAVED)), scaled=True)
    assert limits["accuracy_energy"][3] < 20
    assert plt.get_fignums() == []


def test_reports_show_the_value_and_the_word(tmp_path: Path) -> None:
    run = _run(fake_chip(0), LOST, SAVED)
    store = RunFolder(tmp_path / "run")
    names = [c.name for c in run.chips]
    store.prepare(Manifest("ab" * 32, ("cimsim",), datetime(2026, 1, 1, tzinfo=UTC), names))
    page = write_report(store, run).read_text(encoding="utf-8")
    markdown = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert re.search(r"<td[^>]*>13,110†</td><td[^>]*>destroyed</td>", page)
    assert re.search(r"eflash_40nm +\| +14.05 \| 20,000† \| +13,110† \| destroyed", markdown)
    assert re.search(r"hermes +\| +14.05 \| 13,110† \| +\d+\.\d+ \| ", markdown)
    flat = re.sub(r"\s+", " ", markdown)
    assert "Perplexity of a unigram model of the calibration text: 900.0" in flat
    assert max(len(s) for s in markdown.splitlines() if not s.startswith("![")) <= 80
    figures = tmp_path / "run" / "figures"
    drawn = (figures / "accuracy_energy.svg").read_text(encoding="utf-8")
    assert "destroyed (perplexity 13,110): not drawn" in drawn
    assert "destroyed: 20,000" in (figures / "perplexity.svg").read_text(encoding="utf-8")


def test_a_run_without_survivors_is_drawn(tmp_path: Path) -> None:
    view = View.of(_run(LOST))
    assert "destroyed" in scatter.accuracy_energy(view, scaled=True).alt
    assert b"every chip is destroyed" in scatter.accuracy_energy(view, scaled=False).svg
    perplexity_dots.perplexity_dots(view)
