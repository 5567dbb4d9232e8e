"""``python -m moe_mapping``: the command line, which stands above the library: loaded by name."""

from importlib import import_module

__all__ = ["main"]

main = import_module("cimsim.cli.moe_mapping").main

if __name__ == "__main__":
    main()
