"""A model family of a user's own: OLMoE under another name."""

from __future__ import annotations

from dataclasses import replace

from cimsim.model.families import register_family
from cimsim.model.families.olmoe import OLMOE

register_family(replace(OLMOE, model_type="own_moe"))
