"""``cimsim doctor``: what is installed, and whether kernels compile and cache."""

from __future__ import annotations

import typer

PACKAGES = ("numpy", "numba", "simpy", "networkx", "pydantic", "pandas", "matplotlib", "torch")


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Print versions, bundled models and chips, and where compiled kernels are cached."""
    import platform
    from importlib import metadata

    import cimsim
    from cimsim.config.load import bundled_chips
    from cimsim.zoo import bundled_models

    print(f"cimsim {cimsim.__version__} on Python {platform.python_version()}")
    for name in PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "not installed (only needed for development)"
        print(f"  {name} {version}")
    print(f"models: {', '.join(bundled_models())}")
    print(f"chips: {', '.join(bundled_chips())}")
