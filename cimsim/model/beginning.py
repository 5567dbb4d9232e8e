"""The token that begins a sequence (BOS), as a checkpoint's tokenizer says or as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cimsim.errors import CimsimError
from cimsim.model.config_reader import ConfigReader, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["BosRule", "beginning_token"]

BosRule = Literal["auto", "always", "never"]
_PROBE = "a"  # any text: what precedes its tokens are special ones


def beginning_token(folder: Path, tokenizer: Tokenizer, rule: BosRule) -> int | None:
    """Return the token that every window begins with, or None.

    ``auto`` follows ``add_bos_token`` of tokenizer_config.json; where it is silent, windows begin
    with what tokenizer.json puts before every text.

    Args:
        folder: of the checkpoint.
        tokenizer: its tokenizer.
        rule: whether there is one.

    Raises:
        CimsimError: if there should be one and no file names it.
    """
    if rule == "never":
        return None
    path = folder / "tokenizer_config.json"
    config = ConfigReader(path, read_json(path) if path.is_file() else {})
    said = config.get("add_bos_token")
    if said is not None and not isinstance(said, bool):
        raise config.error("add_bos_token", "not a truth value", "true or false")
    written = _written_first(tokenizer)
    if rule == "auto" and (said is False or (said is None and written is None)):
        return None
    token = config.get("bos_token")
    name = token.get("content") if isinstance(token, dict) else token
    found = tokenizer.token_to_id(name) if isinstance(name, str) else written
    if found is None:
        found = ConfigReader(folder / "config.json", read_json(folder / "config.json")).get(
            "bos_token_id"
        )
    if isinstance(found, bool) or not isinstance(found, int):
        raise CimsimError(
            "windows should begin with a token that neither the tokenizer nor config.json names",
            file=folder,
            key="--bos",
            value=rule,
            allowed="never, for this checkpoint",
        )
    return found


def _written_first(tokenizer: Tokenizer) -> int | None:
    """Return the token that tokenizer.json puts before every text, or None."""
    plain = tokenizer.encode(_PROBE, add_special_tokens=False).ids
    whole = tokenizer.encode(_PROBE, add_special_tokens=True).ids
    return whole[0] if whole and whole[:1] != plain[:1] else None
