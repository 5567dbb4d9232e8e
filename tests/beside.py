"""Print the test files that go with what changed since the last commit, for `make quick`.

A changed test file goes with itself; a changed module with the test files that import it, found
by its dotted name. Many at once would take longer than a quick look should: then the smallest.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_FILES = 12
# What to run when nothing that tests import has changed.
DEFAULT = ("tests/config/test_load.py", "tests/chip")


def changed_files() -> list[Path]:
    """Return Python files that differ from the last commit, untracked ones included."""
    command = ("git", "status", "--porcelain", "--untracked-files=all", "--", "*.py")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line[3:].split(" -> ")[-1].strip('"') for line in listed.stdout.splitlines()]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def tests_beside(changed: list[Path]) -> list[str]:
    """Return the test files that go with changed files, smallest first."""
    tests = list((ROOT / "tests").rglob("test_*.py"))
    found = {p for p in changed if p in tests}
    for module in (p for p in changed if p not in found):
        parts = module.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found |= {t for t in tests if name in t.read_text(encoding="utf-8")}
    chosen = sorted(found, key=lambda p: p.stat().st_size)[:MOST_FILES]
    return [str(p.relative_to(ROOT)) for p in chosen]


if __name__ == "__main__":
    sys.stdout.write(" ".join(tests_beside(changed_files()) or DEFAULT))
