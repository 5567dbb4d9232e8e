"""Device models: one file a family, one class and one registration a model.

The registry imports every module of this folder, so a file put here needs no list.
"""

from cimsim.mac.devices.base import (
    DeviceModel,
    DriftLaw,
    Programming,
    device_model,
    register_device,
    registered_devices,
)

__all__ = [
    "DeviceModel",
    "DriftLaw",
    "Programming",
    "device_model",
    "register_device",
    "registered_devices",
]
