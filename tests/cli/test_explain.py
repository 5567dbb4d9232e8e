"""``cimsim explain``: every name that a user meets is explained, and others lead to one that is."""

from __future__ import annotations

import re

import pytest

from cimsim.config.knobs import find_knobs
from cimsim.config.load import find_chip, load_chip
from cimsim.cost.components import COMPONENTS
from cimsim.errors import CimsimError
from cimsim.report.blocks import Beside, Grid
from cimsim.report.canvas import Picture
from cimsim.report.figures import Figures
from cimsim.report.sections import run_sections
from cimsim.report.view import View
from cimsim.stages.columns.registry import run_tables
from cimsim.stages.explain import entries, explain, search
from tests.command_line import run_here
from tests.results.fake_run import fake_run

ISAAC = load_chip(find_chip("isaac"))


def said(key: str) -> str:
    return "\n".join(explain(key, ISAAC))


def test_every_knob_is_explained_with_unit_and_value() -> None:
    for knob in find_knobs():
        text = said(knob.path)
        assert f"{knob.path}  (knob of a chip file)" in text
        assert f"unit: {knob.unit};" in text
        assert "value on isaac: " in text


def test_every_other_name_is_explained_with_its_meaning() -> None:
    for entry in entries():
        if entry.kind not in {"section", "group of constants", "constant"}:
            assert entry.meaning in said(entry.name), entry.name
        assert said(entry.name), entry.name


def test_a_column_that_shares_its_name_with_a_knob_is_shown_beside_it() -> None:
    columns = {c.name for t in run_tables() for c in t.columns}
    shared = [k.path for k in find_knobs() if k.path.rpartition(".")[2] in columns]
    assert len(shared) > 10
    for path in shared:
        assert "(column of " in said(path), path


@pytest.mark.parametrize("component", list(COMPONENTS))
def test_a_component_is_a_component_whatever_else_has_its_name(component: str) -> None:
    assert f"{component}  (component)" in said(component)


def test_a_section_lists_its_knobs_with_values() -> None:
    text = said("tile.adc")
    assert "tile.adc.bits = 8: Bits of an output code." in text
    # A knob of another kind says why the chip has none.
    assert "tile.device.profile = none, tile.device has kind gaussian" in said("tile.device")


def test_every_heading_of_the_report_is_explained() -> None:
    view = View.of(fake_run(10))
    drawn = Picture("name", "title", "caption", "alt", b"<svg/>", None)
    figures = Figures(drawn, drawn, drawn, drawn, ((drawn,),) * 10)
    blocks = [b for s in run_sections(view, figures) for b in s.blocks]
    grids = [b.grid if isinstance(b, Beside) else b for b in blocks if isinstance(b, Grid | Beside)]
    titles = {f.title for g in grids for f in g.fields} | {
        f.narrow for g in grids for f in g.fields
    }
    assert len(titles) > 60
    for title in titles - {"", "#"}:
        plain = re.sub(r"batch \d+: | \[95\s%\]| (us|ms|s)$(?<!per s)", "", title)
        assert said(plain), title


@pytest.mark.parametrize("word", ["tpot", "perplexity", "TPOT", "destroyed", "die", "dies"])
def test_words_of_the_report_are_explained(word: str) -> None:
    assert "(word)" in said(word)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("tile.adc.bitts", "tile.adc.bits"),
        ("adc.bits", "tile.adc.bits"),
        ("perplexty", "perplexity"),
        ("tile.adcc", "tile.adc"),
        ("energy_per_tokn_nj", "energy_per_token_nj"),
    ],
)
def test_an_unknown_name_leads_to_one_that_is_explained(wrong: str, right: str) -> None:
    with pytest.raises(CimsimError, match="nothing has this name") as caught:
        explain(wrong, ISAAC)
    offered = re.findall(r"'([^']+)'", caught.value.hint or "")
    assert right in offered
    assert all(said(name) for name in offered)


def test_search_puts_names_before_meanings_and_refuses_what_is_nowhere() -> None:
    found = [e.name for e in search("clip")]
    assert "adc_clip_rate" in found[:2]
    assert "tile.adc.range.kind" not in found[:1]
    with pytest.raises(CimsimError, match="is in no name and no meaning"):
        search("flux capacitor")


def test_the_command_takes_words_or_a_search_and_fits_the_terminal() -> None:
    for words in (("top-k", "agreement"), ("--search", "endurance"), ("tile",)):
        done = run_here("explain", *words)
        assert done.returncode == 0, done.stderr
        assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert run_here("explain").returncode == 2
    assert run_here("explain", "adc", "--search", "adc").returncode == 2
