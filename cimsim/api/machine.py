"""What this machine lends to a process beside cores: a folder for kernels, a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cimsim.rng import fill_bits

__all__ = ["gpu_words", "kernel_folder"]


def kernel_folder() -> Path | None:
    """Return where Numba keeps compiled kernels; None where it found no folder to write to."""
    cache = getattr(fill_bits, "_cache", None)
    path = getattr(cache, "cache_path", None)
    return None if path is None else Path(path)


def gpu_words() -> str:
    """Return which GPUs torch computes on, and whether Triton is there."""
    if find_spec("torch") is None:
        return "no torch, which GPUs need: pip install 'cimsim[torch]'"
    import torch  # noqa: PLC0415 - an extra, and two seconds

    if not torch.cuda.is_available():
        return "no GPU that torch computes on"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    triton = "with Triton" if find_spec("triton") is not None else "without Triton"
    return f"{', '.join(names)}, {triton}"
