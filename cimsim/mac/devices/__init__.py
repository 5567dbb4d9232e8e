"""Device models: one file a family, one class and one registration a model.

Every module of this folder is imported, so that a file put here is registered without a list.
"""

from importlib import import_module
from pkgutil import iter_modules

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

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
