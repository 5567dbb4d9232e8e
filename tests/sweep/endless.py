"""A program whose worker processes go on for ever: FOLDER [CLUSTER]."""

import sys
from pathlib import Path

from cimsim.sweeps.open_executor import open_executor
from tests.sweep.points import Endless

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tasks = [Endless(f"t{i}", folder / f"{i}.pid") for i in range(2)]
    with open_executor(2, cluster=sys.argv[2] if len(sys.argv) > 2 else None) as executor:
        for _ in executor.submit(tasks, lambda *_: None):
            pass
