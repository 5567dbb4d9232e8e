"""Members of one kind by name: the project's own, those of installed packages, of plug-ins.

What a user chooses by name (a policy, a calibration step, a device, a topology, a model family)
is found in a `Registry`. There are three ways into one, and all are equal afterwards: a line in
the table of the project's own, an entry point of an installed package, or `register`, which a file
given as ``--plugin`` calls (`cimsim.plugins`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar, cast

from cimsim.errors import CimsimError, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Members by name: the project's and those of plug-ins, then installed ones, sorted.

    Args:
        what: what a member is, e.g. "mapping policy".
        key: dotted path of the knob that names one.
        own: the project's: members, or "module:attribute" of what is imported when asked for.
        group: entry-point group of other packages, if they may add some.
    """

    def __init__(
        self, what: str, key: str, own: Mapping[str, T | str] | None = None, group: str = ""
    ) -> None:
        self._what, self._key, self._group = what, key, group
        self._members: dict[str, T | str] = dict(own or {})

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds a member; the same source may add it again.

        Raises:
            CimsimError: if the name is taken.
        """

        def add(member: T) -> T:
            if name in self and _source(self._members.get(name)) != _source(member):
                raise CimsimError(
                    f"a {self._what} of this name is registered already",
                    value=name,
                    hint="give it a name of its own",
                )
            self._members[name] = member
            return member

        return add

    def named(self, name: str) -> T:
        """Return a member that a user names.

        Raises:
            CimsimError: if there is none of that name.
        """
        if name in self:
            return self[name]
        raise CimsimError(
            f"unknown {self._what}",
            key=self._key,
            value=name,
            allowed=", ".join(self) or "none is registered: give its file with --plugin",
            hint=nearest(name, self),
        )

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            return cast("T", self._installed()[name].load())
        member = self._members[name]
        if isinstance(member, str):
            module, attribute = member.split(":")
            return cast("T", getattr(import_module(module), attribute))
        return member

    def __contains__(self, name: object) -> bool:
        return name in self._members or name in self._installed()

    def __iter__(self) -> Iterator[str]:
        return iter((*self._members, *sorted(self._installed().keys() - self._members.keys())))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _installed(self) -> dict[str, EntryPoint]:
        return {p.name: p for p in entry_points(group=self._group)} if self._group else {}


def _source(member: object) -> tuple[object, object]:
    """Return what tells where a function or class was written."""
    return getattr(member, "__module__", None), getattr(member, "__qualname__", id(member))
