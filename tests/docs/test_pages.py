"""Pages build without a warning, and name only files that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
PATH = re.compile(r"`((?:cimsim|moe_mapping|romer|arch_configs|tests|docs)/[\w/.-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_names_only_files_that_exist(page: Path) -> None:
    named = PATH.findall(page.read_text(encoding="utf-8"))
    missing = [n for n in named if "NAME" not in n and not (ROOT / n).exists()]
    assert missing == []


def test_pages_build_without_a_warning_and_fetch_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    knobs = (site / "reference" / "knobs" / "index.html").read_text(encoding="utf-8")
    assert "tile.adc.bits" in knobs
    assert "{{" not in knobs
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"(https?:[^\"]+)\"", text
        )
        assert [url for url in loaded if "canonical" not in url] == []
