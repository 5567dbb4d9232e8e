"""Configuration: YAML files become validated, frozen, hashed models."""

from cimsim.config.calibration import Calibration
from cimsim.config.chip import (
    AnalogPart,
    ChipConfig,
    Digital,
    Mapping,
    Memory,
    Mesh,
    Run,
    Technology,
    Workload,
)
from cimsim.config.converter import Adc, AnyAdc, AnyRange, Dac
from cimsim.config.device import AnyDevice, Device
from cimsim.config.noc import AnyNoc, Noc
from cimsim.config.tile import Buffers, Crossbar, InputFormat, Pe, Tile, WeightFormat

__all__ = [
    "Adc",
    "AnalogPart",
    "AnyAdc",
    "AnyDevice",
    "AnyNoc",
    "AnyRange",
    "Buffers",
    "Calibration",
    "ChipConfig",
    "Crossbar",
    "Dac",
    "Device",
    "Digital",
    "InputFormat",
    "Mapping",
    "Memory",
    "Mesh",
    "Noc",
    "Pe",
    "Run",
    "Technology",
    "Tile",
    "WeightFormat",
    "Workload",
]
