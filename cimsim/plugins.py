"""Plug-ins: Python files of a user that register members, given as ``--plugin FILE``.

A plug-in is imported once per process, before any configuration is read, and calls public functions
such as `cimsim.mac.register_device`, `cimsim.chip.register_topology`,
`moe_mapping.register_policy` or `romer.register_step`. It is code that runs with the rights of its
user: nothing is loaded that was not named on the command line. Its hash is part of a run's
identity, and worker processes load it too.

A chip file can name a module too, and chip files come from strangers. Such a module is taken from
what is installed, never from the working folder, where a stranger's files may lie.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from cimsim.errors import CimsimError

__all__ = [
    "Plugin",
    "failed_in_plugin",
    "find_installed",
    "import_installed",
    "load_plugins",
    "loaded_plugins",
]

PREFIX = "cimsim_plugin_"
MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Plugin:
    """A plug-in that is loaded.

    Attributes:
        path: its file.
        sha256: of its content, in hex.
    """

    path: Path
    sha256: str


def load_plugins(paths: Sequence[Path]) -> tuple[Plugin, ...]:
    """Load plug-ins in order; one whose content is loaded already is left alone.

    Raises:
        CimsimError: if a file is missing, cannot be imported or registers a taken name.
    """
    return tuple(_load(path) for path in paths)


def loaded_plugins() -> tuple[str, ...]:
    """Return the hashes of all plug-ins of this process, sorted."""
    found = (name for name in sys.modules if name.startswith(PREFIX))
    return tuple(sorted(name.removeprefix(PREFIX) for name in found))


def failed_in_plugin(error: BaseException) -> CimsimError | None:
    """Return the refusal of the plug-in whose code raised an error or led to it, None if none.

    Its author needs file and line, and is no reader of our own lines around them.
    """
    files = {
        str(module.__file__): Path(str(module.__file__))
        for name, module in sys.modules.items()
        if name.startswith(PREFIX)
    }
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if f.filename in files), None)
    if last is None:
        return None
    said = "".join(traceback.format_exception_only(error)).strip()
    return CimsimError(
        f"the plug-in failed in {last.name}: {said}",
        file=files[last.filename],
        line=last.lineno,
        key="--plugin",
    )


def import_installed(name: str, key: str) -> None:
    """Import a module that a chip file names, from what is installed.

    Raises:
        CimsimError: if it is not installed, or cannot be imported.
    """
    if find_installed(name) is None:
        raise CimsimError(
            "no such module is installed",
            key=key,
            value=name,
            allowed="a module of an installed package; none of Python's own",
            hint="a file of your own is loaded with --plugin FILE.py, and then no module is named",
        )
    with _without_working_folder():
        try:
            import_module(name)
        except Exception as error:
            message = f"the module cannot be imported: {type(error).__name__}: {error}"
            raise CimsimError(message, key=key, value=name) from error


def find_installed(name: str) -> ModuleSpec | None:
    """Return where a module is installed; None if it is not, or is one of Python's own."""
    parts = name.split(".")
    if not all(p.isidentifier() and not p.startswith("__") for p in parts):
        return None
    if parts[0] in sys.stdlib_module_names:
        return None
    with _without_working_folder():
        try:
            return find_spec(name)
        except (ImportError, ValueError):
            return None


@contextmanager
def _without_working_folder() -> Iterator[None]:
    """Leave the working folder out of where modules are looked for."""
    before, here = list(sys.path), Path.cwd().resolve()
    sys.path[:] = [p for p in before if p and Path(p).resolve() != here]
    try:
        yield
    finally:
        sys.path[:] = before


def _load(path: Path) -> Plugin:
    if not path.is_file():
        raise CimsimError("plug-in not found", file=path, key="--plugin")
    if path.stat().st_size > MOST_BYTES:
        allowed = f"up to {MOST_BYTES >> 20} MiB"
        raise CimsimError("plug-in is too large", file=path, key="--plugin", allowed=allowed)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"{PREFIX}{digest}"
    if name in sys.modules:
        return Plugin(path, digest)
    spec = spec_from_file_location(name, path)
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise CimsimError(
            "a plug-in is a Python file", file=path, key="--plugin", allowed="FILE.py"
        )
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one that calls sys.exit has not joined either
        del sys.modules[name]
        raise _refusal(path, error) from error
    return Plugin(path, digest)


def _refusal(path: Path, error: BaseException) -> CimsimError:
    """Say in one sentence what is wrong with a plug-in, and in which line."""
    if isinstance(error, SyntaxError):
        line, what = error.lineno, f"SyntaxError: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
        what = "".join(traceback.format_exception_only(error)).strip()  # whatever its str does
    if isinstance(error, CimsimError):
        return CimsimError(
            error.message, file=path, line=line, key="--plugin", value=error.value, hint=error.hint
        )
    return CimsimError(
        f"the plug-in cannot be imported: {what}", file=path, line=line, key="--plugin"
    )
