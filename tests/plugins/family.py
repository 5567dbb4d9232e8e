"""A model family of a user's own: OLMoE under another name."""

from __future__ import annotations

from dataclasses import replace

from cimsim.model.families import FAMILIES, register_family

register_family(replace(FAMILIES["olmoe"], model_type="own_moe"))
