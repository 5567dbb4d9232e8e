"""The functional tile in torch: on a CPU, or on a CUDA device through Triton kernels.

The physics is that of `cimsim.mac`, which also writes the cells, finds ranges and stays the
reference. What a chip seed freezes, and what a conversion draws, have the same addresses.

**Precision** says what may differ from the Numba tile:

* ``exact``: nothing, given the same input codes. Cells lie on the grid that `cimsim.mac.grid`
  declares; column sums are whole numbers, hence exact in any order; normals come from the words
  of Philox4x32-10 by the 2,049 knots of `cimsim.rng`; no product and sum are contracted,
  divisions and roots are correctly rounded. Codes are equal, with read noise too, and so are
  outputs.
* ``fast``: the same law, other bits. Cells are rounded to int8, on the finest grid that holds the
  greatest one, so that one product of bytes gives a column sum. Fresh noise comes from a pool of
  normals (`NoisePool`); where in the pool a conversion reads is a function of its address, so that
  neither batch nor order matters. With ``read_noise="output"`` it is drawn once an output and not
  once a conversion: approximate, since rounding and clipping do not see it. Its variance over that
  of noise at every conversion, on one matrix of 4 slices x 8 cycles: 0.92 to 0.94 with 1 code of
  noise and 0.60 to 0.88 with 0.3 codes, where hardly any conversion clips; 1.5 where half of them
  do, because what is clipped is no noise any more.

**What computes** is named by the caller: `TorchTile` is torch alone, on any device, and the twin of
every kernel; `fused.FusedTile` needs a CUDA device and Triton, and refuses by name what its kernel
does not do. Nothing falls back from one to the other. On a processor `exact` products of a run are
those of the Numba tile itself (`host_copy.HostCopy`).

| file | what it is |
|---|---|
| `tile.py` | `TorchTile`: one programmed matrix and its product with tokens |
| `held.py` | what a product needs of a programmed matrix, as tensors: what it is in `cimsim.mac` |
| `host_copy.py` | products of `cimsim.mac` for tensors on the processor |
| `plain.py` | the product in plain torch, equation by equation |
| `fused.py` | `FusedTile`: the same through Triton |
| `kernel.py` | the fused product: slices x cycles x row groups with a conversion each |
| `feed_kernel.py`, `feeds.py` | inputs as the kernel reads them, kept for what reads the same |
| `packed.py` | cells as the kernel reads them: bytes, padded groups |
| `programming.py`, `written.py` (Triton) | weights to integers, levels, noisy cells, bytes |
| `folded.py`, `fused_folded.py` (Triton) | slices and cycles as one product, an error an output |
| `stack.py`, `forms.py`, `lone.py` | matrices written and folded together, and which are kept |
| `experts.py`, `fused_experts.py`, `experts_kernel.py` (Triton) | experts of a layer at once |
| `verdicts.py` | which folded forms are faithful, by tile |
| `memory.py` | how much of a device is kept full |
| `normals.py`, `pool.py` | addressed normals, and the pool of ``fast`` |
"""

from cimsim.backends.torch.pool import NoisePool
from cimsim.backends.torch.tile import TorchTile

__all__ = ["NoisePool", "TorchTile"]
