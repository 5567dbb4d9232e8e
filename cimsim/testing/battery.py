"""How a battery runs: named checks in order, the first failure is an error with its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cimsim.errors import CimsimError

__all__ = ["Check", "run_checks"]

# A check returns None if it passes, else what it found.
Check = tuple[str, Callable[[], str | None]]


def run_checks(subject: str, checks: Iterable[Check]) -> tuple[str, ...]:
    """Run checks and return their names.

    Args:
        subject: what is checked, for the message.
        checks: name and function of each.

    Raises:
        CimsimError: with the name and finding of the first check that fails.
    """
    passed = []
    for name, check in checks:
        finding = check()
        if finding is not None:
            raise CimsimError(f"{subject} fails the check {name}: {finding}")
        passed.append(name)
    return tuple(passed)
