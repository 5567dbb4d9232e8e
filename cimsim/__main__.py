"""``python -m cimsim``."""

from cimsim.cli.own_process import cimsim

if __name__ == "__main__":
    cimsim()
