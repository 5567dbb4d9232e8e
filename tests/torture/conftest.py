"""The tally of a torture run, printed at its end."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.torture.outcome import Tally

TALLIES: pytest.StashKey[dict[str, Tally]] = pytest.StashKey()


@pytest.fixture(scope="session")
def tallies(pytestconfig: pytest.Config) -> dict[str, Tally]:
    """How inputs of every kind ended, by the kind."""
    return pytestconfig.stash.setdefault(TALLIES, defaultdict(Tally))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for kind, tally in config.stash.get(TALLIES, {}).items():
        terminalreporter.write_line(tally.line(kind))
