"""Mixture-of-experts decoders: Hugging Face checkpoints, and an interpreter of their programs."""

from __future__ import annotations

from cimsim.model.cache import KVCache
from cimsim.model.checkpoint import Checkpoint, build_program, load_checkpoint, read_shape
from cimsim.model.correction import Correction, identity
from cimsim.model.correction_cost import (
    DigitalOps,
    digital_ops_per_token,
    rewritten_matrices,
)
from cimsim.model.correction_file import load_correction, save_correction
from cimsim.model.correction_steps import (
    TRIM_VECTORS,
    ColumnCorrection,
    ColumnTrim,
    LowRank,
    Replica,
    RouterRefit,
    SlotRewrite,
)
from cimsim.model.decoder import Decoder, ForwardResult, ScoreResult
from cimsim.model.flight import Flight, Stream, next_tokens
from cimsim.model.float_linear import FloatLinear
from cimsim.model.interpreter import Interpreter
from cimsim.model.linear import ExpertCall, Linear, Registers
from cimsim.model.observer import Observer
from cimsim.model.router_correction import QuantileMap
from cimsim.model.routing import Routing, RoutingRecord
from cimsim.model.text import perplexity, split_documents
from cimsim.model.weight_source import CheckpointWeight, GivenWeight, Weight

__all__ = [
    "TRIM_VECTORS",
    "Checkpoint",
    "CheckpointWeight",
    "ColumnCorrection",
    "ColumnTrim",
    "Correction",
    "Decoder",
    "DigitalOps",
    "ExpertCall",
    "Flight",
    "FloatLinear",
    "ForwardResult",
    "GivenWeight",
    "Interpreter",
    "KVCache",
    "Linear",
    "LowRank",
    "Observer",
    "QuantileMap",
    "Registers",
    "Replica",
    "RouterRefit",
    "Routing",
    "RoutingRecord",
    "ScoreResult",
    "SlotRewrite",
    "Stream",
    "Weight",
    "build_program",
    "digital_ops_per_token",
    "identity",
    "load_checkpoint",
    "load_correction",
    "next_tokens",
    "perplexity",
    "read_shape",
    "rewritten_matrices",
    "save_correction",
    "split_documents",
]
