"""Rewrite the stored values and print what has changed: ``make golden``.

python -m tests.golden [SUBJECT ...]
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.golden.store import (
    FOLDER,
    canonical_hash,
    compare,
    load,
    load_hashes,
    save,
    save_hashes,
    table,
)
from tests.golden.subjects import SUBJECTS, timed

WORKERS = 2


def main(names: list[str]) -> int:
    """Rewrite subjects, all of them if none is named; return the exit code."""
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        sys.stderr.write(
            f"no such subject: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}\n"
        )
        return 2
    wanted = names or list(SUBJECTS)
    differences = []
    hashes = load_hashes() if names else {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        for done in as_completed([pool.submit(timed, name) for name in wanted]):
            name, found, seconds = done.result()
            stored = load(name)
            differences += compare(name, stored, found)
            save(name, found)
            hashes[name] = canonical_hash(found)
            sys.stderr.write(f"{name}: {seconds:.1f} s\n")
    save_hashes(hashes)
    if not names:
        for path in FOLDER.glob("*.json"):
            if path.stem not in SUBJECTS:
                differences += compare(path.stem, load(path.stem), {})
                path.unlink()
    sys.stdout.write((table(differences) or "nothing has changed") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
