"""Model families: how each reads its configuration and names its tensors."""

from __future__ import annotations

from cimsim.model.families.deepseek import DEEPSEEK
from cimsim.model.families.family import Family
from cimsim.model.families.mixtral import MIXTRAL
from cimsim.model.families.olmoe import OLMOE
from cimsim.model.families.qwen2_moe import QWEN2_MOE

__all__ = ["FAMILIES", "Family"]

FAMILIES: dict[str, Family] = {
    family.model_type: family for family in (OLMOE, QWEN2_MOE, DEEPSEEK, MIXTRAL)
}
