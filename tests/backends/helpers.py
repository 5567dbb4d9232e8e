"""What tests of the torch backend share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimsim.workload.matrix import TokenKeys

KEYS = TokenKeys(
    np.array([0, 1, 1, 7, 2], dtype=np.int64), np.array([0, 3, 4, 1000, 2], dtype=np.int64)
)
_CELL: dict[str, Any] = {"kind": "gaussian", "sigma": 0.05, "sigma_unit": "cell_level"}
_READ: dict[str, Any] = {"sigma": 0.02, "scaling": "sqrt", "sigma_unit": "frac_gmax"}
# What the fused kernel does: encodings, feeds, noise that is constant or follows the sum, frozen
# errors of converters, row groups that do not fill a step, or fill more than one.
KERNEL_TILES: dict[str, dict[str, Any]] = {
    "offset": {
        "weight": {"encoding": "offset"},
        "crossbar": {"rows": 128, "cols": 512},
        "device": {**_CELL, "cell_bits": 2},
        "adc": {"kind": "isaac", "bits": 8, "range": {"kind": "full"}},
    },
    "offset_read": {
        "weight": {"encoding": "offset"},
        "crossbar": {"rows": 128, "cols": 512},
        "device": {**_CELL, "cell_bits": 2, "read_noise": _READ},
        "adc": {"kind": "isaac", "bits": 8, "range": {"kind": "full"}},
    },
    "center_errors": {
        "weight": {"encoding": "center"},
        "crossbar": {"rows": 100, "cols": 512},
        "device": {**_CELL, "cell_bits": 2, "on_off_ratio": 20.0, "read_noise": _READ},
        "adc": {
            "kind": "isaac", "bits": 6, "offset_lsb": 0.3, "gain_sigma": 0.01, "inl_lsb": 0.4,
            "range": {"kind": "percentile", "percentile": 99.0},
        },
    },
    "pairs_apart": {
        "weight": {"encoding": "differential"},
        "input": {"signed": "two_phase"},
        "dac": {"bits": 4},
        "pe": {"subtract": "digital"},
        "crossbar": {"rows": 160, "cols": 512},
        "device": {**_CELL, "cell_bits": 4, "read_noise": {"sigma": 0.05, "scaling": "constant"}},
        "adc": {
            "kind": "isaac", "bits": 7, "noise_lsb": 0.3,
            "range": {"kind": "percentile", "percentile": 99.0},
        },
    },
    "measured": {
        "weight": {"encoding": "offset"},
        "crossbar": {"rows": 128, "cols": 512},
        "device": {
            "kind": "measured", "cell_bits": 2, "unit": "frac_gmax", "age_s": 10.0,
            "rows": (
                (1.0, 25.0, 0.0, 0.0, 0.01), (1.0, 25.0, 0.4, 0.42, 0.03),
                (1.0, 25.0, 1.0, 0.98, 0.02), (100.0, 25.0, 0.0, 0.0, 0.01),
                (100.0, 25.0, 0.4, 0.4, 0.05), (100.0, 25.0, 1.0, 0.9, 0.04),
            ),
        },
        "adc": {
            "kind": "measured", "bits": 8, "range": {"kind": "full"}, "energy_pj": 1.0,
            "area_um2": 900.0, "source": "test",
            "rows": ((0.0, 1.0, 0.2), (0.5, 131.0, 0.4), (1.0, 254.0, 0.6)),
        },
    },
    "charge": {
        "weight": {"encoding": "differential"},
        "input": {"signed": "two_phase"},
        "dac": {"bits": 7},
        "pe": {"accumulate_cycles": True},
        "crossbar": {"rows": 256, "cols": 512},
        "device": {"kind": "gaussian", "sigma": 2.2, "sigma_unit": "weight_lsb", "cell_bits": 7},
        "adc": {"kind": "isaac", "bits": 8, "noise_lsb": 0.5},
    },
    "systematic": {
        "weight": {"encoding": "differential"},
        "input": {"signed": "two_phase"},
        "dac": {"bits": 7},
        "pe": {"crossbars": 3, "supply_droop": 0.05},
        "crossbar": {
            "rows": 64, "cols": 512, "stuck_columns_high": 0.03, "stuck_columns_low": 0.03,
        },
        "device": {
            "kind": "eflash", "cell_bits": 8, "sigma_lsb": 2.2, "mean_lsb": 0.5,
            "shift_level": 0.4,
        },
        "adc": {
            "kind": "isaac", "bits": 8, "reference_gain": 1.1,
            "drift": {
                "calibrated_c": 0.0, "calibrated_for_s": 1e6, "offset_lsb_per_c": 0.05,
                "gain_per_c": 0.001, "reference_per_c": 0.001, "offset_lsb_per_decade": 0.1,
                "gain_per_decade": 0.01,
            },
        },
    },
    "shift": {
        "weight": {"encoding": "offset"},
        "input": {"signed": "shift"},
        "dac": {"bits": 3},
        "crossbar": {"rows": 64, "cols": 512},
        "device": {**_CELL, "cell_bits": 3},
        "adc": {"kind": "isaac", "bits": 8, "noise_lsb": 0.2},
    },
    "isaac": {
        "weight": {"encoding": "isaac", "scale": "per_column"},
        "crossbar": {"rows": 64, "cols": 129},
        "device": {**_CELL, "cell_bits": 2, "on_off_ratio": 15.0},
        "adc": {"kind": "isaac", "bits": 7, "range": {"kind": "auto"}},
    },
    "isaac_errors": {
        "weight": {"encoding": "isaac"},
        "crossbar": {"rows": 100, "cols": 65},
        "device": {**_CELL, "cell_bits": 2},
        "adc": {
            "kind": "isaac", "bits": 6, "offset_lsb": 0.3, "gain_sigma": 0.01,
            "range": {"kind": "percentile", "percentile": 99.0},
        },
    },
}  # fmt: skip


def tokens_of(keys: TokenKeys, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Addresses as tensors."""
    return (
        torch.from_numpy(keys.sequence).to(device), torch.from_numpy(keys.position).to(device)
    )  # fmt: skip
