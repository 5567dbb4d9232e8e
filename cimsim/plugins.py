"""Plug-ins: Python files of a user that register members, given as ``--plugin FILE``.

A plug-in is imported once per process, before any configuration is read, and calls public functions
such as `cimsim.mac.register_device`, `cimsim.chip.register_topology`,
`moe_mapping.register_policy` or `romer.register_step`. It is code that runs with the rights of its
user: nothing is loaded that was not named on the command line. Its hash is part of a run's
identity, and worker processes load it too.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from cimsim.errors import CimsimError

__all__ = ["Plugin", "load_plugins", "loaded_plugins"]

PREFIX = "cimsim_plugin_"


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


def _load(path: Path) -> Plugin:
    if not path.is_file():
        raise CimsimError("plug-in not found", file=path, key="--plugin")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"{PREFIX}{digest}"
    if name in sys.modules:
        return Plugin(path, digest)
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CimsimError(
            "a plug-in is a Python file", file=path, key="--plugin", allowed="FILE.py"
        )
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _refusal(path, error) from error
    return Plugin(path, digest)


def _refusal(path: Path, error: Exception) -> CimsimError:
    """Say in one sentence what is wrong with a plug-in, and in which line."""
    if isinstance(error, SyntaxError):
        line, what = error.lineno, f"SyntaxError: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
        what = f"{type(error).__name__}: {error}"
    if isinstance(error, CimsimError):
        return CimsimError(
            error.message, file=path, line=line, key="--plugin", value=error.value, hint=error.hint
        )
    return CimsimError(
        f"the plug-in cannot be imported: {what}", file=path, line=line, key="--plugin"
    )
