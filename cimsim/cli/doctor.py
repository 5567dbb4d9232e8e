"""``cimsim doctor``: what is installed, and what this machine lends to a run."""

from __future__ import annotations

from pathlib import Path

import typer

PACKAGES = {
    "numpy": "",
    "numba": "",
    "simpy": "",
    "networkx": "",
    "pydantic": "",
    "pandas": "",
    "matplotlib": "",
    "torch": "cimsim[torch]",
    "dask": "cimsim[cluster]",
    "optuna": "cimsim[search]",
    "pyarrow": "cimsim[parquet]",
    "transformers": "cimsim[verify]",
}
"""What is looked for, and the extra that installs it."""


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Print versions, cores, caches, GPU, bundled models and chips."""
    import platform

    import cimsim
    from cimsim.api.machine import gpu_words, kernel_folder
    from cimsim.cache.store import cache_folder
    from cimsim.config.load import bundled_chips
    from cimsim.stages.cores import machine_cores
    from cimsim.zoo import bundled_models

    print(f"cimsim {cimsim.__version__} on Python {platform.python_version()}")
    for name, extra in PACKAGES.items():
        print(f"  {name} {_version(name, extra)}")
    cores = machine_cores()
    quota = "no quota" if cores.quota is None else f"a quota of {cores.quota:g}"
    print(
        f"cores: {cores.usable:g} for this process ({cores.present} present, "
        f"{cores.allowed} allowed, {quota})"
    )
    print(f"stage cache: {_folder(cache_folder())}")
    print(f"compiled kernels: {_folder(kernel_folder())}")
    print(f"GPU: {gpu_words()}")
    print(f"models: {', '.join(bundled_models())}")
    print(f"chips: {', '.join(bundled_chips())}")


def _version(name: str, extra: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"not installed (pip install '{extra}')" if extra else "not installed"


def _folder(path: Path | None) -> str:
    """Return a folder and whether it can be written."""
    from cimsim.cache.store import why_unusable

    if path is None:
        return "no folder can be written, so every process compiles (set NUMBA_CACHE_DIR)"
    reason = why_unusable(path)
    return f"{path}, writable" if reason is None else f"cannot be written: {reason}"
