"""``python -m moe_mapping``: the command line, which stands above the library: loaded by name."""

from importlib import import_module

if __name__ == "__main__":
    import_module("cimsim.cli.own_process").moe_mapping()
