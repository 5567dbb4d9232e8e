"""The page of a sweep in a browser: pointing at points, dragging along axes, finding rows."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from chromium import after, complaints, opened

from cimsim.sweeps.report import write_sweep_report
from cimsim.sweeps.run import prepare_sweep
from cimsim.workload.shapes import SHAPES
from tests.small_shape import NAME, SMALL_SHAPE
from tests.sweep.plans import plan_from, sweep_here

PLAN = """
sweep: 1
name: page
description: "What of <ADCs> & rows?"
chips: [isaac]
accuracy: off
axes:
  tile.adc.bits: [5, 6, 7, 8]
  tile.crossbar.rows: [32, 64, 128]
constraints: [energy_per_token_nj <= 4e5]
"""
POINT = (
    "const at = DATA.charts['points-0'].findIndex((p) => DATA.points[p].text.slice(0, 2).join()"
    " === 'tile.adc.bits = {},tile.crossbar.rows = {}');"
    "const mark = document.querySelectorAll('#points-0 .mark')[at];"
)
KEPT = "document.querySelectorAll('#points tbody tr:not(.off)').length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHAPES, NAME, SMALL_SHAPE)
        plan = plan_from(folder, PLAN)
        results = sweep_here(plan, folder / "out")
        write_sweep_report(prepare_sweep(plan, folder / "out").folder, results)
    return folder / "out" / "report.html"


def say(steps: str) -> str:
    """Return steps that leave what an expression gives in the page's title."""
    return f"document.title = JSON.stringify(({steps}));"


def said(html: str) -> object:
    found = re.search(r"<title>(.*?)</title>", html, re.DOTALL)
    assert found is not None
    return json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


def test_the_page_is_whole_small_and_leaves_the_console_empty(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert len(html) < 400_000
    assert re.findall(r'(?:src|href)="https?:', html) == []
    assert "default-src 'none'" in html
    assert "What of &lt;ADCs&gt; &amp; rows?" in html
    assert complaints(page) == []


def test_its_own_policy_lets_both_scripts_run(page: Path) -> None:
    html = opened(page)
    assert 'type="search"' in html
    assert html.count('class="mark"') == 4 * 12


def test_every_point_links_to_a_chip_file_that_is_there(page: Path) -> None:
    table = page.read_text(encoding="utf-8").partition('id="points"')[2]
    links = re.findall(r'<a href="(points/[^"]+)"', table)
    assert len(links) == 12
    assert all((page.parent / link).is_file() for link in links)


def test_hovering_lights_a_point_in_every_chart_and_shows_its_card(
    page: Path, tmp_path: Path
) -> None:
    hover = POINT.format(6, 128) + "mark.dispatchEvent(new PointerEvent('pointerenter'));"
    look = (
        "[document.querySelectorAll('.mark.lit').length, document.querySelector('.card').hidden, "
        "document.querySelector('.card').textContent]"
    )
    lit, hidden, text = said(after(page, hover + say(look), tmp_path))  # type: ignore[misc]
    assert (lit, hidden) == (4, False)
    assert re.fullmatch(
        r"isaac-[0-9a-f]{10}\ntile.adc.bits = 6\ntile.crossbar.rows = 128\n.*", text, re.DOTALL
    )
    assert "energy_per_token_nj (nJ): " in text
    leave = hover + "mark.dispatchEvent(new PointerEvent('pointerleave'));"
    lit, hidden, _ = said(after(page, leave + say(look), tmp_path))  # type: ignore[misc]
    assert (lit, hidden) == (0, True)


def test_clicking_a_point_finds_its_row(page: Path, tmp_path: Path) -> None:
    steps = POINT.format(5, 32) + "mark.dispatchEvent(new MouseEvent('click'));"
    look = (
        "[...document.querySelectorAll('#points tbody tr')].filter((r) => !r.hidden)"
        ".map((r) => [...r.cells].slice(1, 3).map((c) => c.textContent))"
    )
    assert said(after(page, steps + say(look), tmp_path)) == [["5", "32"]]


def test_dragging_along_an_axis_keeps_the_points_within_and_a_click_all(
    page: Path, tmp_path: Path
) -> None:
    # The first axis is that of the bits, 5 below and 8 above: its lower half holds 5 and 6.
    drag = (
        "const hit = document.getElementById('axis-0');"
        "const box = hit.getBoundingClientRect();"
        "const at = (kind, share) => hit.dispatchEvent(new PointerEvent(kind,"
        " {clientX: box.left, clientY: box.bottom - share * box.height, pointerId: 1}));"
        "hit.setPointerCapture = () => {};"
        "at('pointerdown', 0.0); at('pointermove', 0.5); at('pointerup', 0.5);"
    )
    look = f"[{KEPT}, document.querySelectorAll('.mark.off').length]"
    assert said(after(page, drag + say(look), tmp_path)) == [6, 4 * 6]
    undone = drag + "at('pointerdown', 0.2); at('pointerup', 0.2);"
    assert said(after(page, undone + say(look), tmp_path)) == [12, 0]


def test_a_click_on_a_heading_sorts_the_points(page: Path, tmp_path: Path) -> None:
    steps = (
        "const table = document.querySelector('#points table');"
        "const head = [...table.tHead.rows[0].cells]"
        ".findIndex((c) => c.textContent.startsWith('area_mm2'));"
        "table.tHead.rows[0].cells[head].querySelector('button').click();"
    )
    look = "[...table.tBodies[0].rows].map((r) => parseFloat(r.cells[head].textContent))"
    areas = said(after(page, steps + say(look), tmp_path))
    assert isinstance(areas, list)
    assert areas == sorted(areas)
    assert len(set(areas)) > 6
