"""Device models: one file per family, one class and one registration per model.

The registry imports every module of this folder, so a file put here needs no list.
"""

from cimsim.mac.devices.base import (
    DeviceModel,
    DriftLaw,
    WriteError,
    device_model,
    register_device,
    registered_devices,
)

__all__ = [
    "DeviceModel",
    "DriftLaw",
    "WriteError",
    "device_model",
    "register_device",
    "registered_devices",
]
