"""Every public name of the API is documented, argument by argument, and on its page."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import cimsim
from cimsim.api.call_result import CallResult
from cimsim.errors import CimsimInternalError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md"
CALLS = [n for n in cimsim.__all__ if inspect.isfunction(getattr(cimsim, n))]
CLASSES = [n for n in cimsim.__all__ if inspect.isclass(getattr(cimsim, n))]


def results() -> list[type]:
    """Return what calls return."""
    for name in CALLS:
        getattr(cimsim, name)
    return CallResult.__subclasses__()


def undocumented(function: Any) -> list[str]:
    """Return the arguments that the docstring of a function does not describe."""
    said = inspect.getdoc(function) or ""
    names = [n for n in inspect.signature(function).parameters if n not in {"self", "cls"}]
    return [n for n in names if not re.search(rf"^\s+{n}: \S", said, re.MULTILINE)]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_describes_every_argument_and_its_errors(name: str) -> None:
    call = getattr(cimsim, name)
    assert undocumented(call) == []
    assert "Raises:" in (call.__doc__ or "")
    assert "return" in call.__annotations__
    assert f"::: {call.__module__}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("found", results(), ids=lambda c: c.__name__)
def test_a_result_describes_every_attribute_and_method(found: type) -> None:
    said = inspect.getdoc(found) or ""
    for name in getattr(found, "__dataclass_fields__", {}):
        assert re.search(rf"^\s+{name}: \S", said, re.MULTILINE), name
    for name, member in vars(found).items():
        if name.startswith("_") or name in getattr(found, "__dataclass_fields__", {}):
            continue
        inner = member.fget if isinstance(member, property) else member
        assert inspect.getdoc(inner), name
        assert undocumented(inner) == [], name
    assert found.__module__ in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_is_documented_and_on_the_page(name: str) -> None:
    found = getattr(cimsim, name)
    assert found.__doc__
    assert f"::: {found.__module__}" in PAGE.read_text(encoding="utf-8")


def test_the_table_of_the_package_names_every_public_name() -> None:
    listed = set(re.findall(r"^`(\w+)`", cimsim.__doc__ or "", re.MULTILINE))
    assert listed == set(cimsim.__all__) - {"__version__"}
    assert CimsimInternalError.__name__ in listed
