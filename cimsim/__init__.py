"""cimsim: analog compute-in-memory chips that run mixture-of-experts language models.

    import cimsim

    cimsim.run("isaac", tokens=256, overrides={"tile.adc.bits": 7}).to_frame()

Public names, imported on first use so that ``import cimsim`` stays light:

====================  ==========================================================
`run`                 models on chips: accuracy, latency, energy, a report
`compare`             chips made equal in area, throughput or power
`sweep`               every point of a design space
`peak`                peak figures of a chip, without a model
`tile`                one tile: its error by source, the ADC it wants, its cost
`logits`              what a model says on a chip, token by token
`calibrate`           a correction for one chip
`load_chip`           read and validate a chip, by name or file
`RunOptions`          processes, cache and the like of `run`, `compare`, `sweep`
`CimsimError`         what the user can fix
`SimulationError`     a simulation that cannot finish
`CimsimInternalError` what is our bug
====================  ==========================================================

Each call is one of the command line, with the same stages behind it and the same sentences in its
errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cimsim.errors import CimsimError, CimsimInternalError, SimulationError

if TYPE_CHECKING:
    from cimsim.api.calibrate import calibrate
    from cimsim.api.chip import load_chip
    from cimsim.api.compare import compare
    from cimsim.api.logits import logits
    from cimsim.api.peak import peak
    from cimsim.api.run import run
    from cimsim.api.run_options import RunOptions
    from cimsim.api.sweep import sweep
    from cimsim.api.tile import tile

__version__ = "0.1.0"

__all__ = [
    "CimsimError",
    "CimsimInternalError",
    "RunOptions",
    "SimulationError",
    "__version__",
    "calibrate",
    "compare",
    "load_chip",
    "logits",
    "peak",
    "run",
    "sweep",
    "tile",
]

_LAZY = {
    "RunOptions": "cimsim.api.run_options",
    "calibrate": "cimsim.api.calibrate",
    "compare": "cimsim.api.compare",
    "load_chip": "cimsim.api.chip",
    "logits": "cimsim.api.logits",
    "peak": "cimsim.api.peak",
    "run": "cimsim.api.run",
    "sweep": "cimsim.api.sweep",
    "tile": "cimsim.api.tile",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    message = f"module 'cimsim' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
