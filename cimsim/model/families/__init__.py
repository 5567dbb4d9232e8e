"""Model families: the operations of each in order, and how it names its tensors.

Every module of this package registers the families that it defines.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from cimsim.model.families.family import FAMILIES, Family, register_family

__all__ = ["FAMILIES", "Family", "register_family"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
