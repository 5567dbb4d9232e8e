"""cimsim: analog compute-in-memory chips that run mixture-of-experts language models.

Public names, imported on first use so that ``import cimsim`` stays light:

====================  ==========================================================
`load_chip`           read and validate a chip file
`run_chip`            one chip, one model: accuracy, time, energy in one result
`CimsimError`         what the user can fix
`CimsimInternalError` what is our bug
====================  ==========================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cimsim.errors import CimsimError, CimsimInternalError, SimulationError

if TYPE_CHECKING:
    from cimsim.config.load import load_chip
    from cimsim.pipeline import run_chip

__version__ = "0.1.0"

__all__ = [
    "CimsimError",
    "CimsimInternalError",
    "SimulationError",
    "__version__",
    "load_chip",
    "run_chip",
]

_LAZY = {"load_chip": "cimsim.config.load", "run_chip": "cimsim.pipeline"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    message = f"module 'cimsim' has no attribute {name!r}"
    raise AttributeError(message)
