"""Which modules the calibrators import, read from their source."""

from __future__ import annotations

import ast
from pathlib import Path

import romer

COMMAND_LINES = ("__main__.py", "study")


def imported_by(package: str) -> set[str]:
    """Return every module that a package's calibrators name in an import."""
    assert package == "romer"
    folder = Path(romer.__file__).parent
    found: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] in COMMAND_LINES:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module}
    return found
