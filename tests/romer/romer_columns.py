"""The columns of summary.csv, which readers of the study rely on."""

COLUMNS = (
    "role", "model", "analog_parts", "device_profile", "temperature_c", "scale", "sigma_lsb",
    "level_l", "rel_weight_error", "tile_mode", "calibrator", "guarded", "calibration_tokens",
    "noise_mismatch", "chips", "nll_clean", "nll_noisy", "nll_calibrated", "ppl_clean",
    "ppl_ideal_int", "ppl_noisy", "ppl_calibrated", "ci_low", "ci_high", "p_value", "reduction",
    "gap_closure_ppl", "gap_closure_nll", "load_cv_clean", "load_cv_noisy", "load_cv_calibrated",
    "load_tv_noisy", "load_tv_calibrated", "digital_ops_per_token", "cells_rewritten",
)  # fmt: skip
