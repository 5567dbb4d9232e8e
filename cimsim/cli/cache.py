"""``cimsim cache``: what earlier runs kept of their stages."""

from __future__ import annotations

import typer

from cimsim.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    cache = typer.Typer(help="Stages that earlier runs computed.", no_args_is_help=True)
    cache.command("info")(info)
    cache.command("clear")(clear)
    cache.command("verify")(verify)
    app.add_typer(cache, name="cache")


def info(as_json: AsJson = False) -> None:
    """Say where the cache is and what it holds, by stage."""
    import json

    from cimsim.cache import Store, cache_folder

    store = Store(cache_folder())
    sizes = store.sizes()
    if as_json:
        stages = {s.stage: {"entries": s.entries, "bytes": s.size_bytes} for s in sizes}
        found = {"folder": str(store.folder), "most_bytes": store.most_bytes, "stages": stages}
        print(json.dumps(found, indent=2))
        return
    total = sum(s.size_bytes for s in sizes)
    print(f"{store.folder}: {total / 1e6:.1f} MB of at most {store.most_bytes / 1e6:.0f} MB")
    for size in sizes:
        print(f"  {size.stage:12} {size.entries:6} entries {size.size_bytes / 1e6:8.1f} MB")


def clear() -> None:
    """Remove everything that the cache holds."""
    from cimsim.cache import Store, cache_folder

    store = Store(cache_folder())
    print(f"{store.folder}: {store.clear()} entries removed")


def verify() -> None:
    """Check every entry against its checksum, and remove those that are damaged."""
    from cimsim.cache import Store, cache_folder

    store = Store(cache_folder())
    damaged = 0
    for path in store.damaged():
        damaged += 1
        print(f"damaged, removed: {path}")
    entries = sum(size.entries for size in store.sizes())
    print(f"{store.folder}: {entries} entries are whole, {damaged} were damaged")
    if damaged:
        raise typer.Exit(1)
