"""The tables of a report in a browser: sorted by a click, filtered by words."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "results"))
from chromium import after, complaints, opened, printed_pages
from fake_run import fake_run
from keys import keyboard

from cimsim.report import write_report
from cimsim.results import Manifest, RunFolder

TABLE = "const table = document.querySelector('#scale table');"
CLICK = "[...table.tHead.rows[0].cells].find((c) => c.textContent === '{}')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("browser") / "run")
    run = fake_run(8)
    names = [c.name for c in run.chips]
    folder.prepare(Manifest("ab" * 32, ("cimsim",), datetime(2026, 1, 1, tzinfo=UTC), names))
    return write_report(folder, run)


def _full_size(html: str) -> list[list[str]]:
    """Return the visible rows of the first full-size table."""
    table = html.partition('id="scale"')[2].partition("</table>")[0]
    bodies = re.findall(r"<tbody([^>]*)>(.*?)</tbody>", table, re.DOTALL)
    rows = [row for hidden, body in bodies if "hidden" not in hidden
            for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]  # fmt: skip
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        for row in rows
    ]


def _numbers(html: str, column: int, rows: int) -> list[float]:
    return [float(row[column].replace(",", "")) for row in _full_size(html)[:rows]]


def test_the_policy_of_the_page_lets_its_own_script_run(page: Path) -> None:
    html = opened(page)
    assert html.count("<button") > 50
    assert 'type="search"' in html


def test_a_click_sorts_numbers_up_and_a_second_click_down(page: Path, tmp_path: Path) -> None:
    click = f"{TABLE} const head = {CLICK.format('W')}; head.querySelector('button').click();"
    up = _numbers(after(page, click, tmp_path), 5, 7)
    down = _numbers(after(page, f"{click} head.querySelector('button').click();", tmp_path), 5, 7)
    assert up == sorted(up)
    assert down == up[::-1]
    assert len(set(up)) > 3


def test_sorting_leaves_groups_in_their_places(page: Path, tmp_path: Path) -> None:
    steps = f"{TABLE} {CLICK.format('chip')}.querySelector('button').click();"
    rows = [row[1] for row in _full_size(after(page, steps, tmp_path))]
    assert rows[:7] == sorted(rows[:7])
    assert rows[7:] == ["neurram"]


def test_a_filter_keeps_the_rows_that_hold_every_word(page: Path, tmp_path: Path) -> None:
    steps = (
        f"{TABLE} const input = table.parentElement.previousElementSibling; "
        "input.value = 'sram 28nm'; input.dispatchEvent(new Event('input')); "
        "document.querySelectorAll('tr[hidden]').forEach((row) => row.remove());"
    )
    rows = [row[1] for row in _full_size(after(page, steps, tmp_path))]
    assert rows == ["sram_digital_28nm", "sram_switching_28nm"]


def test_cells_without_a_value_come_last_either_way(page: Path, tmp_path: Path) -> None:
    head = "document.querySelector('#accuracy table')"
    steps = (
        f"const table = {head}; const head = {CLICK.format('clipped')};"
        "head.querySelector('button').click();"
    )
    for clicks in (steps, f"{steps} head.querySelector('button').click();"):
        html = after(page, clicks, tmp_path)
        body = html.partition('id="accuracy"')[2].partition("</tbody>")[0]
        cells = re.findall(r'<td class="n"[^>]*>([^<]*)</td></tr>', body)
        assert cells[-2:] == ["n/a", "n/a"]
        assert "n/a" not in cells[:-2]


def _failed(page: Path, steps: str, folder: Path, *flags: str) -> str:
    """Return what a check on the page, a list of words, finds wrong."""
    found = after(page, f"document.body.dataset.found = ({steps}).join('; ');", folder, *flags)
    return re.search(r'data-found="([^"]*)"', found).group(1)


WIDE = (
    "[...document.querySelectorAll('h1, h2, h3, p, table, .table, fieldset, .drawing, dl')]"
    ".filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
    ".map((e) => e.tagName + ' ' + e.textContent.slice(0, 20))"
)
SMALL = (
    "[...document.querySelectorAll('figure svg text')]"
    ".filter((t) => t.textContent.trim() && t.getBoundingClientRect().height > 0)"
    ".filter((t) => { const m = t.getScreenCTM();"
    " return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b) < 6.5; })"
    ".map((t) => t.textContent)"
)


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_nothing_is_cut_and_labels_are_legible(page: Path, tmp_path: Path, width: int) -> None:
    beyond = "[document.documentElement.scrollWidth > innerWidth ? 'the page' : '']"
    wrong = f"[...{WIDE}, ...{SMALL}, ...{beyond}].filter(Boolean)"
    assert _failed(page, wrong, tmp_path, f"--window-size={width},900") == ""


def test_the_answer_is_on_one_screen(page: Path, tmp_path: Path) -> None:
    bottoms = "[...document.querySelectorAll('#findings svg, #findings table, #findings ul')]"
    below = f"{bottoms}.map((e) => Math.round(e.getBoundingClientRect().bottom))"
    found = _failed(page, below, tmp_path, "--window-size=1280,900")
    assert max(int(bottom) for bottom in found.split("; ")) <= 900


def test_chips_are_picked_everywhere(page: Path, tmp_path: Path) -> None:
    steps = (
        "document.querySelectorAll('.picker input').forEach((box) => "
        "{ box.checked = ['isaac', 'raella'].includes(box.value); }); "
        "document.querySelector('.picker fieldset').dispatchEvent(new Event('change')); "
        "document.querySelectorAll('[hidden]').forEach((e) => e.remove());"
    )
    html = after(page, steps, tmp_path)
    assert [row[1] for row in _full_size(html)] == ["isaac", "raella"]
    parts = re.findall(r'<section id="chip-(\d)"', html)
    assert parts == ["1", "5"]
    assert "chips shown: 2 of 8" in html


def test_a_dark_page_has_dark_figures(page: Path, tmp_path: Path) -> None:
    colours = (
        "[...document.querySelectorAll('figure svg text')].slice(0, 5)"
        ".map((t) => getComputedStyle(t).fill)"
    )
    dark = _failed(page, colours, tmp_path, "--force-dark-mode", "--enable-features=WebUIDarkMode",
                   "--blink-settings=preferredColorScheme=0")  # fmt: skip
    light = _failed(page, colours, tmp_path)
    assert set(light.split("; ")) == {"rgb(31, 41, 51)"}
    assert set(dark.split("; ")) == {"rgb(230, 233, 236)"}


def test_eight_chips_print_on_twelve_pages_and_weigh_less_than_two_megabytes(
    page: Path, tmp_path: Path
) -> None:
    assert page.stat().st_size < 2_000_000
    assert printed_pages(page, tmp_path) <= 12


def test_the_page_says_nothing_on_the_console_and_can_be_used_by_keyboard(
    page: Path, tmp_path: Path
) -> None:
    assert complaints(page) == []
    unreachable = (
        "[...document.querySelectorAll('th button, summary, input')]"
        ".filter((e) => e.tabIndex < 0).map((e) => e.textContent)"
    )
    assert _failed(page, unreachable, tmp_path) == ""


FOCUSED = (
    "(() => { const e = document.activeElement; const head = e.closest('th');"
    " return head ? 'sort ' + head.textContent : e.type === 'search' ? 'filter' : e.tagName; })()"
)


def test_tables_are_sorted_and_filtered_by_keys_alone(page: Path, tmp_path: Path) -> None:
    rows = (
        "[...document.querySelector('#scale table').tBodies[0].rows]"
        ".filter((r) => !r.hidden && !r.classList.contains('group'))"
        ".map((r) => r.cells[1].textContent)"
    )
    with keyboard(page, tmp_path) as keys:
        before = keys.read(rows)
        # From the filter of the first full-size table, which stands before its headings.
        keys.read(
            "document.querySelector('#scale table').parentElement.previousElementSibling.focus()"
        )
        assert keys.read(FOCUSED) == "filter"
        for key in "sram":
            keys.press(key)
        assert keys.read(rows) == [name for name in before if "sram" in name]
        reached = [keys.read(FOCUSED)]
        while reached[-1] != "sort chip" and len(reached) < 5:
            keys.press("Tab")
            reached.append(keys.read(FOCUSED))
        assert reached == ["filter", "sort #", "sort chip"]
        seen = keys.read("getComputedStyle(document.activeElement).outlineStyle")
        assert seen == "solid"
        keys.press("Enter")
        up = keys.read(rows)
        assert up == sorted(up)
        assert len(up) > 1
        keys.press(" ")
        assert keys.read(rows) == up[::-1]


def test_tab_reaches_every_control_in_the_order_of_the_page(page: Path, tmp_path: Path) -> None:
    count = "document.querySelectorAll('a[href], button, input, summary, [tabindex]').length"
    with keyboard(page, tmp_path) as keys:
        found, seen = [], set()
        for _ in range(60):
            keys.press("Tab")
            found.append(keys.read(FOCUSED))
            seen.add(keys.read("document.activeElement.getBoundingClientRect().height > 0"))
        assert keys.read(count) > 60
    assert found[0] == "A"
    assert found.index("SUMMARY") < found.index("sort rank")
    assert seen == {True}


def _grounds(scheme: str) -> str:
    """Return a script that lists text of too little contrast with what is behind it."""
    return (
        "(() => { const light = (c) => { const p = c.map((v) => v / 255)"
        ".map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);"
        " return 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2]; };"
        " const parts = (c) => c.match(/[\\d.]+/g).map(Number);"
        " const behind = (e) => { for (; e; e = e.parentElement) {"
        " const c = parts(getComputedStyle(e).backgroundColor);"
        " if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };"
        " return [...document.querySelectorAll('body *')]"
        ".filter((e) => !e.closest('svg') && e.offsetParent &&"
        " [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))"
        ".map((e) => { const a = light(parts(getComputedStyle(e).color).slice(0, 3));"
        " const b = light(behind(e).slice(0, 3));"
        " return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e]; })"
        f".filter(([ratio]) => ratio < 4.5).map(([r, e]) => '{scheme} ' + r.toFixed(2) + ' ' +"
        " e.tagName + ' ' + e.textContent.slice(0, 20)); })()"
    )


@pytest.mark.parametrize("width", [400, 800, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_the_page_has_the_contrast_of_wcag_aa(
    page: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    flags = [f"--window-size={width},900"]
    if scheme == "dark":
        flags += ["--force-dark-mode", "--enable-features=WebUIDarkMode",
                  "--blink-settings=preferredColorScheme=0"]  # fmt: skip
    assert _failed(page, _grounds(scheme), tmp_path, *flags) == ""
