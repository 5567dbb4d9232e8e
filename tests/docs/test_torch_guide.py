"""The guide to torch models, as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "torch_models.md"


def test_the_example_of_the_guide_runs_as_printed(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    said = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    found = re.fullmatch(r"chip 0 moves a logit by (\S+), chips 0 and 1 differ by (\S+)\n", said)
    assert found
    assert all(0.01 < float(x) < 5.0 for x in found.groups())
