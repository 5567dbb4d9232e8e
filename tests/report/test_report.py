"""Reports: self-contained, deterministic, honest in their words, readable in a terminal."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))
from fake_run import fake_chip, fake_run

from cimsim.chip import build_mesh
from cimsim.config import ChipConfig
from cimsim.errors import CimsimInternalError
from cimsim.report import write_report
from cimsim.report.accuracy_tables import accuracy_grid
from cimsim.report.answer import ranked_grid
from cimsim.report.cells import duration, energy_unit, number, percent, significant
from cimsim.report.chip_figures import _on_mesh
from cimsim.report.cost_tables import speed_grid
from cimsim.report.energy_bars import _scale_parts
from cimsim.report.findings import basis, findings, warnings
from cimsim.report.page import DARK
from cimsim.report.view import View
from cimsim.report.warning_kinds import by_kind
from cimsim.results import Manifest, RunFolder, RunResults, TileLoad

VOID = {"meta", "img", "br", "wbr", "link", "hr"}


def _report(folder: Path, run: RunResults) -> tuple[str, str]:
    store = RunFolder(folder)
    chips = [c.name for c in run.chips]
    store.prepare(Manifest("ab" * 32, ("cimsim",), datetime(2026, 1, 1, tzinfo=UTC), chips))
    page = write_report(store, run)
    return page.read_text(encoding="utf-8"), (folder / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("three") / "run"
    html, markdown = _report(folder, fake_run(3))
    return folder, html, markdown


class _Balance(HTMLParser):
    """Checks that tags close in order, and collects ids, links and images."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag == "img":
            self.images.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)


def _parsed(html: str) -> _Balance:
    parser = _Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def _words(html: str) -> str:
    return re.sub(r"\s+", " ", "".join(_parsed(html).words))


def test_page_is_well_formed_and_its_links_lead_somewhere(three: tuple[Path, str, str]) -> None:
    page = _parsed(three[1])
    assert len(page.ids) == len(set(page.ids))
    assert all(link.removeprefix("#") in page.ids for link in page.links)


def test_page_needs_no_network_and_runs_its_own_script_alone(
    three: tuple[Path, str, str],
) -> None:
    html = three[1]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    own = base64.b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none';")
    assert policy.endswith(f"script-src 'sha256-{own}'")
    for address in re.findall(r"(?:src|href)=\"(?!#|data:image/png)([^\"]*)", html):
        pytest.fail(f"the page refers to {address}")


def test_every_figure_is_valid_svg_with_a_text_alternative(three: tuple[Path, str, str]) -> None:
    html = three[1]
    figures = re.findall(
        r'<div class="drawing" role="img" aria-label="([^"]*)"[^>]*>\s*(<svg.*?</svg>)',
        html,
        re.DOTALL,
    )
    assert len(figures) == html.count("<figure>") == 4 + 3 * 4
    for alt, svg in figures:
        assert len(alt) > 40
        assert ElementTree.fromstring(svg).tag.endswith("svg")  # noqa: S314 - our own bytes


def test_figures_follow_the_colours_of_the_page_and_tell_values(
    three: tuple[Path, str, str],
) -> None:
    html = three[1]
    svg = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    for colour in DARK:
        assert f"{colour};" not in svg
        assert f"--{colour[1:]}:{colour};" in html
        assert f"--{colour[1:]}:{DARK[colour]};" in html
    titles = re.findall(r"<title>([^<]*)</title>", svg)
    energy = number(fake_chip(0).row, "ppl_calibrated_mean")
    assert any(t.startswith(f"1. isaac: perplexity {energy:.4g} (") for t in titles)
    assert any(re.match(r"isaac: ADC [\d.e+]+ nJ \(", t) for t in titles)
    assert any(re.match(r"isaac: leakage: ADC ", t) for t in titles)
    # Files of figures keep plain colours, which every program knows.
    file = (three[0] / "figures" / "accuracy_energy.svg").read_text(encoding="utf-8")
    assert "var(" not in file


def test_text_of_figures_stands_out_on_light_and_on_dark_pages() -> None:
    for paper, ink in (("#ffffff", "#1f2933"), (DARK["#ffffff"], DARK["#1f2933"])):
        assert _contrast(paper, ink) > 7
    for light, dark in DARK.items():
        if light in {"#ffffff", "#e3e6ea", "#eceff2", "#eef1f4"}:
            continue  # paper, grid, fields
        # WCAG AA for graphics.
        assert _contrast("#ffffff", light) >= 3, light
        assert _contrast(DARK["#ffffff"], dark) >= 3, dark


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_of_the_page_have_the_contrast_of_wcag_aa(scheme: str) -> None:
    css = (files("cimsim.report") / "templates" / "report.css").read_text(encoding="utf-8")
    light, dark, paper = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    )
    found = {"light": light, "dark": light | dark, "print": light | paper}[scheme]
    at = {k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in found.items()}
    for ground in ("paper", "band", "warn"):
        for text in ("ink", "soft", "accent"):
            assert _contrast(at[ground], at[text]) >= 4.5, (text, ground)
    # Borders of fields and outlines of what has the focus are graphics.
    for edge in ("soft", "accent"):
        assert _contrast(at["paper"], at[edge]) >= 3
    assert 'input[type="search"]::placeholder { color: var(--soft); opacity: 1; }' in css


def _contrast(a: str, b: str) -> float:
    """Return the contrast ratio of two colours by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_warnings_of_one_kind_are_one_line_with_a_count() -> None:
    link = "busiest network link router (0,3) +y at 18 %; packets of 354 flits are longer"
    other = "busiest network link router (1,0) -x at 4 %; packets of 12 flits are longer"
    found = by_kind(
        [
            f"a: in prefill, {link}. in decode, batch 8, {other} (too large)",
            f"b: in decode, batch 1, {other}",
            "c: a chip of 2080 mm2 exceeds the reticle limit of 858 mm2",
            "Chips of 14 to 130 nm stand side by side.",
        ],
        ["a", "b", "c"],
    )
    assert [len(sentences) for _, sentences in found] == [3, 0, 0]
    assert found[0][0] == f"3 times on 2 chips, first: a: in prefill, {link}"
    assert found[0][1][2].startswith("b: in decode, batch 1")
    assert found[1][0].startswith("c: a chip of 2080")
    assert found[2][0] == "Chips of 14 to 130 nm stand side by side."


def test_the_answer_ranks_by_energy_and_marks_the_front() -> None:
    grid = ranked_grid(View.of(fake_run(8)))
    (eight, four) = grid.groups
    names = [f.title for f in grid.fields]
    energies = [float(row[names.index("mJ per token")]) for row in eight.rows]
    assert energies == sorted(energies)
    assert [row[0].split()[0] for row in eight.rows] == [str(i) for i in range(1, 8)]
    assert eight.rows[0][0] == "1 ●"
    assert [row[2] for row in four.rows] == ["neurram"]


def test_times_take_the_unit_that_fits_and_empty_columns_are_left_out() -> None:
    run = fake_run(2)
    chips = tuple(replace(c, row={**c.row, "ttft_p50_us": 1.03e6, "tpot_p99_us_b1": None})
                  for c in run.chips)  # fmt: skip
    grid = speed_grid(View.of(replace(run, chips=chips)))
    titles = [f.title for f in grid.fields]
    assert grid.groups[0].rows[0][titles.index("first token s")] == "1.03"
    assert not any("p99" in t and t.startswith("batch 1") for t in titles)


def test_chips_that_coincide_in_the_figure_share_a_label(tmp_path: Path) -> None:
    twins = [fake_chip(0), replace(fake_chip(0), name="twin"), fake_chip(1)]
    _report(tmp_path / "run", replace(fake_run(1), chips=tuple(twins)))
    root = ElementTree.parse(tmp_path / "run" / "figures" / "accuracy_energy.svg")  # noqa: S314
    words = [e.text or "" for e in root.iter() if e.tag.endswith("text")]
    assert "1, 2" in words
    assert not any(w in words for w in ("1, 3", "2, 3", "1, 2, 3"))


def test_pictures_hold_the_words_of_the_figure(three: tuple[Path, str, str]) -> None:
    folder = three[0] / "figures"
    text = (folder / "accuracy_energy.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)  # noqa: S314 - our own bytes
    words = [e.text or "" for e in root.iter() if e.tag.endswith("text")]
    assert "eflash_40nm" in words
    assert any("perplexity" in w for w in words)
    assert sorted(p.name for p in folder.glob("*.png")) == [
        "accuracy_energy.png",
        "energy_breakdown.png",
        "energy_breakdown_tiny.png",
        "perplexity.png",
    ]
    assert {p.name for p in (folder / "isaac").iterdir()} == {
        "tile_load.svg",
        "expert_load.svg",
        "latency.svg",
        "network.svg",
    }


def test_same_run_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent)]!r}; from pathlib import Path\n"
        "from test_report import _report, fake_run; _report(Path(sys.argv[1]), fake_run(1))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)
    _report(tmp_path / "b", fake_run(1))
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == other.read_bytes(), path.name


def test_tiny_model_energies_say_so_in_their_heading(three: tuple[Path, str, str]) -> None:
    html, markdown = three[1:]
    for heading in (
        "Energy and area (tiny model)",
        "Energy by component: tiny model, decode",
        "Speed (tiny model)",
        "Tiny model: speed and energy",
    ):
        assert heading in html
    assert "## Tiny model: speed and energy" in markdown


def test_only_the_papers_three_figures_are_the_papers(three: tuple[Path, str, str]) -> None:
    for text in (_words(three[1]), re.sub(r"\s+", " ", three[2])):
        assert "58.6 %, 58.8 % and 59.8 %" in text
        assert "our reading of ROMER" in text
        assert "Only these three figures are the paper's" in text


def test_page_states_what_is_included_and_what_is_not(three: tuple[Path, str, str]) -> None:
    words = _words(three[1])
    for statement in (
        "1 MAC = 2 operations",
        "includes the chip, its digital units (attention, softmax, norms), the KV cache and DRAM; "
        "links between chips and the interface to the host are included",
        "leakage of dac; leakage of noc_link",
        "accuracy of the full-size model",
        "averages of the timed work, not peaks",
        "8-bit weights, 8-bit inputs (ADC 8 b): isaac, eflash_40nm, hermes.",
    ):
        assert statement in words, statement


def test_glossary_has_every_column_of_results(three: tuple[Path, str, str]) -> None:
    run = fake_run(1)
    for column in (c for t in run.schema if t.name in {"results", "scale"} for c in t.columns):
        assert f"<code>{column.name}</code>" in three[1]


def test_chips_of_different_precision_are_not_ranked_together() -> None:
    view = View.of(fake_run(10))
    assert [(label, len(designs)) for label, designs in view.classes] == [
        ("8-bit weights, 8-bit inputs", 8),
        ("4-bit weights, 8-bit inputs", 1),
        ("4-bit weights, 4-bit inputs", 1),
    ]
    ranked = [s for s in findings(view) if "least energy" in s or "most accurate" in s]
    assert len(ranked) == 2
    assert all(s.startswith("At 8-bit weights, 8-bit inputs") for s in ranked)
    # The 4-bit chip needs the least energy of all, and wins nothing.
    assert not any("fefet" in s for s in ranked)


def test_different_models_are_not_ranked_together() -> None:
    chips = tuple(fake_chip(i, model=m) for m in ("olmoe-tiny", "qwen-moe-tiny") for i in (0, 1))
    view = View.of(replace(fake_run(1), chips=chips))
    assert [label for label, _ in view.classes] == [
        "8-bit weights, 8-bit inputs, olmoe-tiny",
        "8-bit weights, 8-bit inputs, qwen-moe-tiny",
    ]
    assert sum("most accurate of 2 chips" in s for s in findings(view)) == 2


def test_clipping_beyond_one_percent_is_a_warning() -> None:
    found = warnings(View.of(fake_run(4)))
    assert any(w.startswith("neurram: 8.1") and "conversions clip" in w for w in found)
    assert not any(w.startswith("isaac") for w in found)


def test_clipping_is_said_once() -> None:
    told = replace(fake_chip(3), warnings=("8.1 % of conversions clip: widen the range",))
    found = warnings(View.of(replace(fake_run(1), chips=(told,))))
    assert sum("clip" in w for w in found) == 1


def test_warning_of_several_chips_is_said_once() -> None:
    chips = [replace(fake_chip(i), warnings=("few windows",)) for i in (0, 1)]
    everywhere = warnings(View.of(replace(fake_run(1), chips=tuple(chips))))
    assert everywhere[1:] == ["all chips: few windows"]
    some = warnings(View.of(replace(fake_run(1), chips=(*chips, fake_chip(2)))))
    assert some[1:] == ["isaac, eflash_40nm: few windows"]


def test_chips_of_different_nodes_are_never_mixed_silently(
    three: tuple[Path, str, str],
) -> None:
    assert "Chips of 14 to 40 nm stand side by side" in _words(three[1])
    assert "A front joins chips of several process nodes" in _words(three[1])
    assert not any("nm stand" in w for w in warnings(View.of(fake_run(1))))
    assert re.search(r"isaac \(32 nm\) needs|\w+ \(\d+ nm\) needs", _words(three[1]))


def test_chips_that_all_wait_for_memory_say_so() -> None:
    def waiting(chip, share):
        rows = tuple(
            {**r, "critical_resource": "memory channels", "critical_resource_utilisation": share}
            for r in chip.scale
        )
        return replace(chip, scale=rows)

    for share, said in ((0.97, True), (0.5, False)):
        chips = tuple(waiting(fake_chip(i), share) for i in (0, 1))
        found = warnings(View.of(replace(fake_run(1), chips=chips)))
        assert any("waits for its off-chip memory" in w for w in found) is said


def test_links_off_the_chip_are_claimed_only_where_they_are_charged() -> None:
    chip = fake_chip(0)
    bare = replace(chip, energy=tuple(r for r in chip.energy if r["component"] != "io"))
    statement = dict(basis(View.of(replace(fake_run(1), chips=(bare,)))))["Energy"]
    assert "the interface to the host is not modelled" in statement
    both = dict(basis(View.of(replace(fake_run(1), chips=(bare, fake_chip(1))))))["Energy"]
    assert "interface to the host for eflash_40nm and not modelled for others" in both


def test_peak_as_run_stands_beside_the_published_precision(
    three: tuple[Path, str, str],
) -> None:
    html, markdown = _words(three[1]), three[2]
    for form, preset, bits in (("run", "isaac", "8/8"), ("paper", "isaac_peak", "16/16")):
        row = f'<td class="w">{form}</td><td class="w">{preset}</td><td class="n">{bits}</td>'
        assert row in three[1].replace("<wbr>", "")
    assert "not the published chip" in html
    assert re.search(r"\| run +\| +8/8 \|", markdown)
    assert re.search(r"\| paper \| 16/16 \|", markdown)
    for origin in ("measured", "default"):
        assert f'<td class="n">0.31/0.28</td><td class="w">{origin}</td>' in three[1]
    assert "| 0.31/0.28 |" in markdown


def test_peak_that_air_does_not_cool_is_said_in_both_reports(tmp_path: Path) -> None:
    chip = fake_chip(0)
    hot = {"peak_total_w": 6744.0, "peak_w_per_mm2": 14.8, "peak_cooling": "none known"}
    peaks = (chip.peak[0] | hot, *chip.peak[1:])
    html, markdown = _report(
        tmp_path / "run", replace(fake_run(1), chips=(replace(chip, peak=peaks),))
    )
    said = "(as run): 6,740 W are 14.8 W/mm²; cooling that takes it: none known"
    assert said in " ".join(_words(html).split())
    assert said in " ".join(markdown.split())
    assert markdown.count("cooling that takes it") == 1  # the published form is cool


def test_lifetime_at_the_switch_rate_is_in_both_reports(tmp_path: Path) -> None:
    html, markdown = _report(tmp_path / "run", replace(fake_run(1), chips=(fake_chip(7),)))
    assert "2.80 h" in _words(html)
    said = re.sub(r"\s+", " ", markdown)
    assert "Cells last 2.80 h at this rate of switching." in said
    assert "2.50 GB/s of weights; 75 % of expert visits find their expert resident" in said
    assert "Belady's optimum: 88 %" in said


def test_switching_has_a_table_where_a_chip_switches_and_none_elsewhere(tmp_path: Path) -> None:
    mixed = replace(fake_run(1), chips=(fake_chip(7), fake_chip(0)))
    html, markdown = _report(tmp_path / "mixed", mixed)
    assert "Expert switching (tiny model)" in html
    table = html.partition("Expert switching (tiny model)</caption>")[2].partition("</table>")[0]
    assert '<td class="n">75\u00a0%</td><td class="n">88\u00a0%</td>' in table
    assert "isaac" not in table  # it holds every expert
    assert "Every chip holds all experts here" in html
    assert "Every chip holds all experts here" in re.sub(r"\s+", " ", markdown)
    plain = "".join(_report(tmp_path / "plain", fake_run(1)))
    assert "Expert switching" not in plain
    assert "Every chip holds all experts here" not in plain


def test_keys_and_values_in_dram_stand_apart_from_those_on_the_chip() -> None:
    parts = _scale_parts(View.of(fake_run(1)).designs[0])
    assert parts["KV cache, DRAM"] > 0
    assert parts["KV cache, on chip"] > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3e-5, "30.0 us"),
        (0.5, "500 ms"),
        (90.0, "1.50 min"),
        (10_080, "2.80 h"),
        (4e9, "127 years"),
    ],
)
def test_durations_take_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_calibration_without_effect_says_so() -> None:
    chip = fake_chip(0)
    seeds = tuple({**r, "ppl_calibrated": r["ppl_noisy"]} for r in chip.per_seed)
    same = replace(chip, per_seed=seeds)
    found = findings(View.of(replace(fake_run(1), chips=(same,))))
    assert found[-1].startswith("Calibration changed nothing")
    mixed = findings(View.of(replace(fake_run(1), chips=(same, fake_chip(1)))))
    assert "on 1 of 2 calibrated chips" in mixed[-1]
    assert mixed[-1].endswith("It changed nothing on isaac.")


def test_notes_stand_with_their_chip(three: tuple[Path, str, str]) -> None:
    assert _words(three[1]).count("ADC energy is extrapolated below 28 nm") == 1
    assert re.sub(r"\s+", " ", three[2]).count("ADC energy is extrapolated below 28 nm") == 1


def test_incomplete_run_and_single_seed_say_so(tmp_path: Path) -> None:
    chip = fake_chip(0)
    row = {**chip.row, "chip_seeds": 1}
    for stage in ("noisy", "calibrated"):
        mean = chip.per_seed[0][f"ppl_{stage}"]
        row |= {f"ppl_{stage}_{x}": mean for x in ("mean", "ci_low", "ci_high")}
    single = replace(chip, row=row, per_seed=chip.per_seed[:1])
    run = replace(fake_run(1), chips=(single,), complete=False)
    html, markdown = _report(tmp_path / "run", run)
    for text in (_words(html), re.sub(r"\s+", " ", markdown)):
        assert "The run was not completed" in text
        assert "One chip seed: no confidence interval" in text
        assert "no effect of calibration can be told from chance" in text


def test_run_without_full_size_results_falls_back_and_says_so(tmp_path: Path) -> None:
    run = fake_run(2)
    bare = replace(run, chips=tuple(replace(c, scale=()) for c in run.chips))
    html, markdown = _report(tmp_path / "run", bare)
    assert "Accuracy against energy: tiny model, decode" in html
    assert 'id="scale"' not in html
    assert 'href="#scale"' not in html
    assert "Not every chip has results at full size" in re.sub(r"\s+", " ", markdown)


def test_names_from_users_are_text_and_never_markup(tmp_path: Path) -> None:
    chip = fake_chip(0)
    name = '<img src=x onerror="alert(1)">|`$x_1$`'
    row = {**chip.row, "config": name, "model": "<b>m</b>"}
    run = replace(fake_run(1), chips=(replace(chip, name=name, row=row),))
    html, markdown = _report(tmp_path / "run", run)
    page = _parsed(html)
    assert all("onerror" not in image for image in page.images)
    assert "<img src=x" not in html
    assert "<b>m</b>" not in html
    assert "<img src" not in markdown.replace("\\<img src", "")


def test_markdown_fits_a_terminal(three: tuple[Path, str, str]) -> None:
    for line in three[2].splitlines():
        if not line.startswith("!["):
            assert len(line) <= 80, line


def test_markdown_links_to_figures_that_exist(three: tuple[Path, str, str]) -> None:
    folder, _, markdown = three
    linked = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    assert len(linked) == 4 + 4 * 3
    assert all((folder / path).is_file() for path in linked)


def test_basis_is_the_same_on_page_and_in_markdown(three: tuple[Path, str, str]) -> None:
    flat = re.sub(r"\s+", " ", three[2]).replace("\\", "")
    for subject, statement in basis(View.of(fake_run(3))):
        assert re.sub(r"\s+", " ", f"**{subject}.** {statement}") in flat


def test_report_of_ten_chips_stays_small(tmp_path: Path) -> None:
    run = fake_run(10)
    store = RunFolder(tmp_path / "run")
    chips = [c.name for c in run.chips]
    manifest = Manifest("ab" * 32, ("cimsim",), datetime(2026, 1, 1, tzinfo=UTC), chips, chips)
    store.prepare(manifest)
    for chip in run.chips:
        store.write_chip(chip, run.schema)
    store.write_run(run)
    store.write_manifest(replace(manifest, reported=True))
    write_report(store, run)
    sizes = {p: p.stat().st_size for p in (tmp_path / "run").rglob("*") if p.is_file()}
    # What a resumed run reads is no part of the report.
    state = sum(size for path, size in sizes.items() if path.suffix == ".packed")
    assert sum(sizes.values()) - state < 5_000_000
    assert state < 10 * 200_000


def test_report_of_nothing_is_our_bug(tmp_path: Path) -> None:
    store = RunFolder(tmp_path / "run")
    with pytest.raises(CimsimInternalError, match="at least one"):
        write_report(store, replace(fake_run(1), chips=()))


def _even(chip):
    load = chip.tile_load
    row = np.arange(len(load.noisy_ps))
    column = np.stack([np.zeros_like(row), row], axis=1)
    tiles = replace(load, round_robin_ps=None, places=column, cells=column)
    return replace(chip, tile_load=tiles)


def _huge(chip):
    row = {**chip.row, "ppl_unigram": 1e6}
    for stage in ("noisy", "calibrated"):
        row |= {f"ppl_{stage}_{x}": 1e5 for x in ("mean", "ci_low", "ci_high")}
    return replace(chip, row=row)


def _scattered(chip):
    """Chips so different that the symmetric interval reaches below 1."""
    row = dict(chip.row)
    for stage in ("noisy", "calibrated"):
        row |= {f"ppl_{stage}_mean": 400.0, f"ppl_{stage}_ci_low": -700.0}
        row[f"ppl_{stage}_ci_high"] = 1500.0
    return replace(chip, row=row)


def _many_tiles(chip):
    rng = np.random.default_rng(0)
    load = rng.integers(1, 10**9, 5000)
    holds = np.ones(5000, dtype=np.bool_)
    places = np.stack([np.arange(5000) % 72, np.arange(5000) // 72], axis=1)
    tiles = replace(
        chip.tile_load,
        places=places // 2,
        cells=places,
        holds_weights=holds,
        noisy_ps=load,
        calibrated_ps=load,
        round_robin_ps=None,
        round_robin_holds_weights=None,
    )
    return replace(chip, tile_load=tiles)


def test_tiles_of_one_router_stand_in_a_block() -> None:
    tiles, noc = {"tiles": 11}, {"kind": "cmesh", "concentration": 4}
    config = ChipConfig(name="x", chip=tiles, noc=noc)  # type: ignore[arg-type]
    mesh = build_mesh(config, 1)
    load = TileLoad(
        places=mesh.tile_places,
        cells=mesh.tile_cells,
        holds_weights=np.arange(11) != 9,
        noisy_ps=np.arange(11) * 10**6,
        calibrated_ps=np.arange(11) * 10**6,
    )
    grid = _on_mesh(load, load.noisy_ps, load.holds_weights)
    nan = np.nan
    expected = [[0, 1, 4, 5], [2, 3, 6, 7], [8, nan, nan, nan], [10, nan, nan, nan]]
    np.testing.assert_array_equal(grid, expected)


@pytest.mark.parametrize("change", [_even, _huge, _scattered, _many_tiles])
def test_unusual_chips_are_drawn(tmp_path: Path, change: Callable) -> None:
    run = fake_run(1)
    html, _ = _report(tmp_path / "run", replace(run, chips=tuple(map(change, run.chips))))
    assert "Load of tiles" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.2345, "1.23"),
        (9.996, "10.0"),
        (135765.0, "136,000"),
        (-2.5, "-2.50"),
        (1.5e-9, "1.50e-09"),
        (2.5e12, "2.50e+12"),
        (None, "n/a"),
    ],
)
def test_significant_digits(value: float | None, text: str) -> None:
    assert significant(value) == text


def test_units_and_percentages() -> None:
    assert energy_unit([5e6, 2e6, 10.0]) == ("mJ", 1e6)
    assert energy_unit([950.0]) == ("nJ", 1.0)
    assert percent(0.123) == "12.3\u00a0%"


def test_importing_the_report_does_not_import_matplotlib() -> None:
    code = "import sys, cimsim.report, cimsim.results; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_losses_are_compared_with_the_first_chip_in_pairs() -> None:
    run = fake_run(3)
    rows = [row for group in accuracy_grid(View.of(run)).groups for row in group.rows]
    found = {row[1]: row[11] for row in rows}
    assert found.pop("isaac") == "the reference"
    assert len(found) == 2
    for pair in run.tables()["pairs"]:
        assert pair["reference"] == "isaac"
        mean, low, high = (
            pair[f"loss_change_calibrated_{end}"] for end in ("mean", "ci_low", "ci_high")
        )
        assert found[str(pair["config"])] == f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]"
