"""Members of one kind by name: the project's own, those of plug-ins, those of installed packages.

What a user chooses by name (a policy, a calibration step, a device, a transfer curve, a topology, a
model family) is found in a `Registry`. A member joins through `register`, which its file calls as
it is imported: the project's own files stand in one package of the registry, a user's is given as
``--plugin FILE`` (`cimsim.plugins`). Installed packages name theirs as entry points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import TypeVar, cast

from cimsim.errors import CimsimError, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Members by name: registered ones in their order, then installed ones, sorted.

    Args:
        what: what a member is, e.g. "mapping policy".
        key: dotted path of the knob that names one.
        package: whose modules register the project's own; they are imported when first asked for.
        group: entry-point group of other packages, if they may add some.
    """

    def __init__(self, what: str, key: str, package: str = "", group: str = "") -> None:
        self._what, self._key, self._group = what, key, group
        self._members: dict[str, T] = {}
        self._package = package
        self._complete = not package

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds a member; the same source may add it again.

        Raises:
            CimsimError: if the name is taken.
        """

        def add(member: T) -> T:
            source = _source(member)
            if not source[0].startswith(f"{self._package}."):
                self._import_own()  # a plug-in must not take a name of the project's
            known = self._members.get(name)
            if known is not None and _source(known) != source:
                by = f", by {_source(known)[0]}" if _source(known)[0] else ""
                raise CimsimError(
                    f"a {self._what} of this name is registered already{by}",
                    key=self._key,
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
        self._import_own()
        if name in self._members:
            return self._members[name]
        return cast("T", self._installed()[name].load())

    def __contains__(self, name: object) -> bool:
        self._import_own()
        return name in self._members or name in self._installed()

    def __iter__(self) -> Iterator[str]:
        self._import_own()
        return iter((*self._members, *sorted(self._installed().keys() - self._members.keys())))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _import_own(self) -> None:
        if self._complete:
            return
        self._complete = True  # before the imports: what they import may ask for members
        for module in iter_modules(import_module(self._package).__path__, f"{self._package}."):
            import_module(module.name)

    def _installed(self) -> dict[str, EntryPoint]:
        return {p.name: p for p in entry_points(group=self._group)} if self._group else {}


def _source(member: object) -> tuple[str, object]:
    """Return where a function or class was written, module and name; no module of other objects."""
    name = getattr(member, "__qualname__", None)
    return (member.__module__, name) if name else ("", id(member))
