"""The command line: one command per file, no logic."""

from __future__ import annotations

from importlib import import_module

from cimsim.cli.entry import new_app, run_app

__all__ = ["main"]

COMMANDS = (
    "run",
    "report",
    "sweep",
    "search",
    "validate",
    "verify",
    "inspect",
    "migrate",
    "schema",
    "explain",
    "peak",
    "adc",
    "tile",
    "published",
    "compare",
    "serve",
    "noc",
    "bench",
    "cache",
    "doctor",
)


def main() -> None:
    """Run ``python -m cimsim``."""
    app = new_app("Simulate analog compute-in-memory chips that run mixture-of-experts models.")
    for name in COMMANDS:
        import_module(f"cimsim.cli.{name}").register(app)
    run_app(app, "cimsim")
