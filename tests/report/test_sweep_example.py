"""The committed example of a sweep's report: small, whole, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from cimsim.config.load import load_chip

EXAMPLE = Path(__file__).resolve().parents[2] / "reports" / "sweep-example"


def test_the_example_is_small_and_every_point_links_to_its_chip() -> None:
    page = (EXAMPLE / "report.html").read_text(encoding="utf-8")
    assert sum(p.stat().st_size for p in EXAMPLE.rglob("*") if p.is_file()) < 1_500_000
    links = set(re.findall(r'<a href="(points/[^"]+)"', page))
    rows = (EXAMPLE / "sweep.csv").read_text(encoding="utf-8").splitlines()
    assert len(links) == len(rows) - 1
    assert all((EXAMPLE / link).is_file() for link in links)
    assert load_chip(EXAMPLE / sorted(links)[0]).name == "isaac"
