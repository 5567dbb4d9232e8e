"""``python -m romer``: the command line, which stands above the library: loaded by name."""

from importlib import import_module

__all__ = ["main"]

main = import_module("cimsim.cli.romer").main

if __name__ == "__main__":
    main()
