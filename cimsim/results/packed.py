"""Values as bytes and back: frozen records of numbers, texts and arrays, without pickle.

A packed value is a checksum and an npz archive: the arrays, and a tree in JSON that says where
they belong. The reader names the classes that may occur, so that a file cannot ask for anything
else. Floats come back bit by bit (JSON has their shortest exact form). The file is a line that says
what it is, a line with the sha256 of the rest in hex, and the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cimsim.array_file import unpack_archive
from cimsim.errors import CimsimInternalError

__all__ = ["DamagedError", "digest_of", "pack", "unpack"]

MAGIC = b"cimsim packed 1\n"
MOST_BYTES = 1 << 36  # of the arrays of a stage: more than a machine keeps
PLAIN_BYTES = 1 << 26  # of arrays beyond which they are kept as they are
TAG = "@"  # key of what a node is; plain JSON objects do not occur


class DamagedError(ValueError):
    """Bytes that are not what was packed."""


def pack(value: object) -> bytes:
    """Return a value as bytes.

    Args:
        value: None, numbers, texts, arrays, tuples, lists, sets, mappings, named tuples and
            dataclasses of such.

    Raises:
        CimsimInternalError: if it holds anything else.
    """
    arrays: list[NDArray[Any]] = []
    tree = json.dumps(_tree(value, arrays), separators=(",", ":"))
    named = {f"a{i}": array for i, array in enumerate(arrays)}
    archive = io.BytesIO()
    # Large arrays are corrections of large models: noise, which hardly shrinks and takes minutes.
    large = sum(array.nbytes for array in arrays) > PLAIN_BYTES
    save = np.savez if large else np.savez_compressed
    save(archive, tree=np.frombuffer(tree.encode(), dtype=np.uint8), **named)  # type: ignore[arg-type]
    body = archive.getvalue()
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpack(data: bytes, classes: Iterable[type]) -> Any:
    """Return the value that was packed.

    Args:
        data: what `pack` returned.
        classes: dataclasses and named tuples that may occur.

    Raises:
        DamagedError: if the bytes are not whole, or of other classes.
    """
    head, _, body = data.removeprefix(MAGIC).partition(b"\n")
    if not data.startswith(MAGIC) or hashlib.sha256(body).hexdigest().encode() != head:
        raise DamagedError("the checksum does not fit the content")
    known = {cls.__name__: cls for cls in classes}
    try:
        archive = unpack_archive(io.BytesIO(body), most_bytes=MOST_BYTES)
        tree = json.loads(archive["tree"].tobytes())
        arrays = [archive[f"a{i}"] for i in range(len(archive) - 1)]
        return _value(tree, arrays, known)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise DamagedError(f"it is of another version: {error}") from error


def digest_of(value: object) -> str:
    """Return the sha256 of a value in hex: the same for equal values, in every process."""
    arrays: list[NDArray[Any]] = []
    digest = hashlib.sha256(json.dumps(_tree(value, arrays), sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _tree(value: object, arrays: list[NDArray[Any]]) -> Any:  # noqa: PLR0911 - one return a kind
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise CimsimInternalError("an array of objects cannot be packed")
        arrays.append(value)
        return {TAG: "array", "is": len(arrays) - 1}
    if isinstance(value, np.generic):
        arrays.append(np.asarray(value))
        return {TAG: "scalar", "is": len(arrays) - 1}
    if isinstance(value, BaseModel):
        return {TAG: type(value).__name__, "is": value.model_dump(mode="json")}
    if isinstance(value, Mapping):
        items = [[_tree(k, arrays), _tree(v, arrays)] for k, v in value.items()]
        return {TAG: "mapping", "is": items}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {TAG: type(value).__name__, "is": [_tree(v, arrays) for v in value]}
    if isinstance(value, tuple | list):
        return {TAG: type(value).__name__, "is": [_tree(v, arrays) for v in value]}
    if isinstance(value, frozenset):
        return {TAG: "frozenset", "is": [_tree(v, arrays) for v in sorted(value)]}
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: _tree(getattr(value, f.name), arrays) for f in fields(value) if f.init}
        return {TAG: type(value).__name__, "is": own}
    raise CimsimInternalError(f"a {type(value).__name__} cannot be packed")


def _value(node: Any, arrays: list[NDArray[Any]], known: Mapping[str, type]) -> Any:
    if not isinstance(node, dict):
        return node
    kind, content = node[TAG], node["is"]
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "mapping":
        return {_value(k, arrays, known): _value(v, arrays, known) for k, v in content}
    if isinstance(content, dict):
        return known[kind](**{k: _value(v, arrays, known) for k, v in content.items()})
    items = [_value(v, arrays, known) for v in content]
    plain = {"tuple": tuple, "list": list, "frozenset": frozenset}.get(kind)
    return known[kind](*items) if plain is None else plain(items)
