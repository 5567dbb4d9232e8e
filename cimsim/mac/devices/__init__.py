"""Device models: one file a family, one class and one registration a model."""

from cimsim.mac.devices import eflash, gaussian, pcm, reram
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
    "eflash",
    "gaussian",
    "pcm",
    "register_device",
    "registered_devices",
    "reram",
]
