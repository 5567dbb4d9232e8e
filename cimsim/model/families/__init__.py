"""Model families: the operations of each in order, and how it names its tensors.

Every module of this package registers the families that it defines; `FAMILIES` imports them.
"""

from __future__ import annotations

from cimsim.model.families.family import FAMILIES, Family, register_family

__all__ = ["FAMILIES", "Family", "register_family"]
