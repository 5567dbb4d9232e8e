"""What a run keeps in memory, and what it gives back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from cimsim.bench.memory import watch
from cimsim.errors import CimsimError
from cimsim.results import ChipResult
from cimsim.stages import accuracy, models
from cimsim.stages.chip_seed import ChipSeeds
from cimsim.stages.heap import release_heap
from cimsim.stages.models import calibration_windows, open_model, read_text

_HEAP = """
import sys
from cimsim.stages.heap import release_heap
import numpy as np
def resident():
    text = open("/proc/self/smaps_rollup").read()
    return int(text.split("Rss:")[1].split()[0]) // 1024
kept, freed = [], []
for _ in range(512):
    freed.append(np.ones(64_000))
    kept.append(np.ones(100))
full = resident()
del freed
release_heap()
print(full - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
def test_freed_arrays_between_small_ones_go_back_to_the_system() -> None:
    settings = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4194304"}
    done = subprocess.run(
        ["env", *(f"{k}={v}" for k, v in settings.items()), sys.executable, "-c", _HEAP],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 200  # of 250 MB


def test_releasing_keeps_what_is_in_use() -> None:
    values = np.arange(10_000.0)
    release_heap()
    assert values[-1] == 9_999.0


def test_exact_matrices_go_back_to_the_system_before_a_chip_is_written(
    run_tiny: Callable[..., ChipResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("ideal", "seed"):
        whole = getattr(ChipSeeds, name)
        monkeypatch.setattr(
            ChipSeeds, name, lambda *given, n=name, f=whole: (done.append(n), f(*given))[1]
        )
    monkeypatch.setattr(accuracy, "release_heap", lambda: done.append("release"))
    run_tiny("eflash_40nm", "run.chip_seeds=1", "calibration.method=identity")
    assert done == ["ideal", "release", "seed", "release"]


@pytest.mark.parametrize("characters", [1, 3, 5])
def test_cut_text_has_the_tokens_of_the_whole(
    characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "CHARACTERS_A_TOKEN", characters)
    checkpoint, texts = open_model("olmoe-tiny"), read_text(None)
    found = calibration_windows(checkpoint, texts, 2048, 256)
    whole = checkpoint.tokenizer.encode(texts.calibration, add_special_tokens=False).ids
    assert found.ravel().tolist() == whole[:2048]


@pytest.mark.parametrize("module", ["pandas", "matplotlib", "torch", "transformers", "jinja2"])
def test_workers_do_not_load_what_only_reports_need(module: str) -> None:
    code = f"import sys, cimsim.session; print({module!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


_FAMILY = """
import subprocess, sys, time
import numpy as np
child = subprocess.Popen([sys.executable, "-c",
    "import numpy as np, time; a = np.ones(8_000_000); time.sleep(2)"])
mine = np.ones(4_000_000)
child.wait()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
def test_watched_memory_is_that_of_a_process_and_its_children() -> None:
    found = watch([sys.executable, "-c", _FAMILY])
    each = found["RSS of each process at the peak, MB"]
    assert isinstance(each, list)
    assert len(each) == 2
    # 32 MB and 64 MB of numbers beside the interpreters.
    assert 90 < found["peak RSS, MB"] < 250  # type: ignore[operator]
    assert found["peak PSS, MB"] <= found["peak RSS, MB"]  # type: ignore[operator]


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(CimsimError, match="failed"):
        watch([sys.executable, "-c", "raise SystemExit(1)"])
