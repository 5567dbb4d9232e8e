"""The command line: one command per file, no logic."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["main"]

COMMANDS = (
    "run",
    "report",
    "sweep",
    "search",
    "new",
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
    "trace",
    "noc",
    "bench",
    "cache",
    "doctor",
)


WELCOME = """\
cimsim: mixture-of-experts language models on analog compute-in-memory chips

  cimsim run isaac puma --tokens 256    two bundled chips: accuracy, time, energy, a report
  cimsim explain tile.adc.bits          any knob, column, component or word
  cimsim doctor                         what is installed, cores, caches, chips, models

Chips are YAML: `cimsim validate my.yaml` checks one, `cimsim run my.yaml isaac` compares it.
All commands: cimsim --help"""


def main() -> None:
    """Run ``python -m cimsim``."""
    from cimsim.cli.entry import new_app, run_app

    if len(sys.argv) == 1:
        run_app(lambda **_: print(WELCOME), "cimsim")
    app = new_app("Simulate analog compute-in-memory chips that run mixture-of-experts models.")
    for name in COMMANDS:
        import_module(f"cimsim.cli.{name}").register(app)
    run_app(app, "cimsim")
